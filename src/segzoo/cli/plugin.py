"""The core's commands: where each is, imported when it runs. Light."""

COMMANDS = {
    "list": "segzoo.cli.zoo:list_command",
    "show": "segzoo.cli.zoo:show_command",
    "plugins": "segzoo.cli.zoo:plugins_command",
    "train": "segzoo.cli.training:train",
    "evaluate": "segzoo.cli.results:evaluate_command",
    "predict": "segzoo.cli.results:predict_command",
    "inspect": "segzoo.cli.results:inspect_command",
    "import": "segzoo.cli.importing:import_command",
    "compare": "segzoo.cli.results:compare_command",
    "check": "segzoo.cli.checking:check_command",
    "doctor": "segzoo.cli.checking:doctor_command",
    "matrix": "segzoo.cli.checking:matrix_command",
    "data": "segzoo.cli.data:app",
    "cache": "segzoo.cli.cache:cache_command",
    "new": "segzoo.cli.authoring:new_command",
}
"""The core's commands, and where their functions are."""


QUICK = ("list", "show", "plugins", "new")
"""Those that need not say that they have begun."""
