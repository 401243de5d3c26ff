"""Colab's forms outside Colab: a cell's own `# @param` lines become widgets below the cell.

    from restore_utils.notebook import forms
    forms.enable()          # once, in the notebook's first cell; does nothing in Colab, which draws its own

From then on a cell such as

    # @title Settings
    render_factor = 21  # @param {type:"slider", min:5, max:40, step:1}
    codec = "h264"      # @param ["h264", "h265", "ffv1"]

draws its form when it has run. A change in the form sets the variable and runs nothing; cells that are run afterwards
see it. So does the cell itself when it is run again, as long as its text is the same: changed code wins over the form.
What was set is kept in form-values.json beside the notebook, so a kernel that is restarted finds it again.

    # @markdown ### The film                            heads a group; one that begins with "More" is folded away
    # @markdown **Film.** A path or an address.         label and hint of the field below

A text field whose placeholder speaks of a path gets a chooser for local clips.
"""

from restore_utils.notebook.forms.draw import draw
from restore_utils.notebook.forms.parse import Field, Form, parse
from restore_utils.notebook.forms.watch import enable

__all__ = ["Field", "Form", "draw", "enable", "parse"]
