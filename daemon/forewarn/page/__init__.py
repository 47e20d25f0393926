"""The page on the daemon's own port: what is known of the devices, as HTML with plain SVG.

Rules that hold here:

- Nothing here reads or writes anything but what it is given; the engine is seen through `Look` alone, and only copied.
- Names of devices and metrics, units and texts of a model are text from outside: each is escaped where it enters HTML.
- A page is drawn as `Drawn`: pieces of HTML by the id of the element that they stand in. The document has them all, an
  event of the stream those that changed, so both say the same.
- Nothing is fetched from elsewhere, no element has a handler or a style of its own, and there is nothing to send.
"""
