"""FCN-32s, FCN-16s and FCN-8s for segzoo, and the dense evaluation of classifiers.

The networks are in `segzoo_fcn.network`; `segzoo_fcn.dense` holds `convolutionalize`,
`convolutionalize_head` and `shift_and_stitch`. Importing the package itself loads no torch.
"""
