// Only marks the module's root: each version of the suite has a file of its own, for go -modfile=v1.7.0.mod.
module moongate/tests/conformance/suite

go 1.26.0
