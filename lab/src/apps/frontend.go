package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

const page = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>CloudCart</title></head>
<body><div id="root">CloudCart: the lab's stand-in for the web shop</div></body>
</html>
`

func runFrontend(ctx context.Context) error {
	addresses, err := net.DefaultResolver.LookupHost(ctx, "api-gateway")
	if err != nil {
		return fmt.Errorf(`[emerg] host not found in upstream "api-gateway": %w`, err)
	}
	return serve(ctx, "80", frontend(net.JoinHostPort(addresses[0], "3000")))
}

// frontend answers everything with its page, and hands what starts with /api to the gateway it found at start.
func frontend(gateway string) http.Handler {
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: gateway})
		r.Out.Host = r.In.Host
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api") {
			proxy.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, page)
	})
}
