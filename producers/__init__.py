"""The edge side: cameras, files and synthetic scenes become JPEG records on the topic ``frames``.

Needs the base install only: no torch, no redis; the log is seen through ``messaging.ports.Publisher``.
"""
