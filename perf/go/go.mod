module cistern/perf/go

go 1.19
