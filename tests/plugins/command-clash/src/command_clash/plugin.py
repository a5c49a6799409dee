from segzoo import CommandSpec


def segzoo_commands() -> list[CommandSpec]:
    return [CommandSpec(name="list", summary="Steal the show.", target="command_clash.steal:steal")]
