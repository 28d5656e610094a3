module github.com/estiba/estiba/tools/licences

go 1.26.0

toolchain go1.26.11

require github.com/google/licensecheck v0.3.1
