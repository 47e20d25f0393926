"""The dashboards of dashboards/*.json as code: `make dashboards` writes these files, and nobody edits them by hand.

`fleet`, `device`, `daemon` and `spark` say what each dashboard shows, `panels` how a panel looks. Needs the extra
`dev`.
"""
