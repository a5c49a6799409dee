"""The core's own parts: the light `plugin.py` of each room that has some, handed to the manager."""

from segzoo.data.plugin import segzoo_datasets as segzoo_datasets
from segzoo.losses.plugin import segzoo_losses as segzoo_losses
from segzoo.metrics.plugin import segzoo_metrics as segzoo_metrics
from segzoo.report.plugin import segzoo_epoch_end as segzoo_epoch_end
from segzoo.report.plugin import segzoo_fit_end as segzoo_fit_end
from segzoo.report.plugin import segzoo_fit_start as segzoo_fit_start
