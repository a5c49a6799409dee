"""The core's losses, and weighted sums of losses by name.

Logits are B x K x H x W; the target is labels_BHW (int64, ignore_index where unlabelled) or
alpha_BHW (float 0..1), which stands for the two-class distribution (1 - alpha, alpha).
"""
