// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"net"
	"os"
)

// notifyReady tells systemd that the unit has started (sd_notify(3)).
func notifyReady() {
	logInfo("k3s is up and running")
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	connection, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err == nil {
		defer connection.Close()
		_, err = connection.Write([]byte("READY=1"))
	}
	if err != nil {
		logError("cannot notify systemd: %v", err)
	}
}
