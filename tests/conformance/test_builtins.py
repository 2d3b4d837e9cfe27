"""Every component that is installed keeps every promise of its protocol."""

from __future__ import annotations

from capfw.core.conformance import conformance_test

test_every_component = conformance_test()
