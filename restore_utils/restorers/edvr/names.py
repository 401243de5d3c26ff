"""The names that the parameters of an EDVR had in three toolboxes, mapped to one.

The first code (2019) had names of its own, the authors' later toolbox those used here, and OpenMMLab's files put each
convolution one level deeper. Shapes and meaning are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_OF_2019 = [
    (r"^pre_deblur\.", "predeblur."),
    (r"\bconv_first_1\b", "conv_first"),
    (r"\bconv_first_2\b", "stride_conv_hr1"),
    (r"\bconv_first_3\b", "stride_conv_hr2"),
    (r"\bdeblur_L(\d)_conv\b", r"stride_conv_l\1"),
    (r"\bRB_L3_1\b", "resblock_l3"),
    (r"\bRB_L2_(\d)\b", r"resblock_l2_\1"),
    (r"\bRB_L1_(\d)\b", lambda found: f"resblock_l1.{int(found[1]) - 1}"),
    (r"^fea_L(\d)_conv(\d)\b", r"conv_l\1_\2"),
    (r"\bL(\d)_offset_conv(\d)\b", r"offset_conv\2.l\1"),
    (r"\bL(\d)_dcnpack\b", r"dcn_pack.l\1"),
    (r"\bL(\d)_fea_conv\b", r"feat_conv.l\1"),
    (r"\bconv_offset_mask\b", "conv_offset"),
    (r"^tsa_fusion\.", "fusion."),
    (r"\btAtt_1\b", "temporal_attn2"),  # these two changed places
    (r"\btAtt_2\b", "temporal_attn1"),
    (r"\bfea_fusion\b", "feat_fusion"),
    (r"\bsAtt_L(\d)\b", r"spatial_attn_l\1"),
    (r"\bsAtt_add_(\d)\b", r"spatial_attn_add\1"),
    (r"\bsAtt_(\d)\b", r"spatial_attn\1"),
    (r"^recon_trunk\.", "reconstruction."),
    (r"^HRconv\.", "conv_hr."),
]
_OF_OPENMMLAB = [
    (r"^generator\.", ""),
    (r"^pcd_alignment\.", "pcd_align."),
    (r"^feat_l(\d)_conv(\d)\b", r"conv_l\1_\2"),
    (r"^upsample(\d)\.upsample_conv\b", r"upconv\1"),
    (r"\.conv\.(weight|bias)$", r".\1"),
]
_NO_PARAMETERS = ("step_counter",)  # OpenMMLab's trainer kept its place in the file


def modern_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in the naming used here; one that has it already stays as it is."""
    renamed = {}
    for name, tensor in tensors.items():
        if name in _NO_PARAMETERS:
            continue
        for old, new in (*_OF_OPENMMLAB, *_OF_2019):
            name = re.sub(old, new, name)
        renamed[name] = tensor
    return renamed
