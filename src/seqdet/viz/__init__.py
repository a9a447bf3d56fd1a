"""Pictures, videos and pages of what the other packages made; nothing here decides anything.

``images`` paints events and frames, ``draw`` the boxes on them, ``tiles`` sets pictures side by side and ``video`` one
after the other. ``inspection`` draws a recording as a whole. ``pages`` renders the report about a run, and what others
fill into its ``templates``, with the charts that ``charts`` lays out.
"""
