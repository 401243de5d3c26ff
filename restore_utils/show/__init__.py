"""Pictures for notebooks and reports: sliders, strips, contact sheets, masks, plots, zoom.

Every function gives a `Html`, which Jupyter and Colab display and the report page takes in. It needs no script file, no
widget and no network, so it survives in a saved notebook; pictures in it are small JPEGs.

    still_slider(before, after, mask=mask)
    video_slider("old.mp4", "restored.mp4", start_s=12)
"""

from restore_utils.show.clips import stack_clips, stacked_slider, video_slider
from restore_utils.show.html import STYLE, Html, data_uri, join, pixels
from restore_utils.show.plots import plot_changes, plot_flicker, plot_lines
from restore_utils.show.stills import contact_sheet, overlay, still_slider, strip, zoom

__all__ = [
    "STYLE",
    "Html",
    "contact_sheet",
    "data_uri",
    "join",
    "overlay",
    "pixels",
    "plot_changes",
    "plot_flicker",
    "plot_lines",
    "stack_clips",
    "stacked_slider",
    "still_slider",
    "strip",
    "video_slider",
    "zoom",
]
