module github.com/estiba/estiba/test/system/release

go 1.26.0

toolchain go1.26.11
