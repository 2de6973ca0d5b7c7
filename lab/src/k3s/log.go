// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"time"
)

func logLine(level, format string, values ...any) {
	fmt.Fprintf(os.Stderr, "time=%q level=%s msg=%q\n",
		time.Now().UTC().Format(time.RFC3339), level, fmt.Sprintf(format, values...))
}

func logInfo(format string, values ...any)  { logLine("info", format, values...) }
func logWarn(format string, values ...any)  { logLine("warning", format, values...) }
func logError(format string, values ...any) { logLine("error", format, values...) }

// logFatal ends the program as K3s does on a fatal error.
func logFatal(format string, values ...any) {
	logLine("fatal", format, values...)
	os.Exit(1)
}
