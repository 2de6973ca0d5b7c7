// Copyright (c) 2026 CloudCartOps contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// The upstream etcd server as a program.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
