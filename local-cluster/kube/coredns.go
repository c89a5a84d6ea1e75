package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
)

// runCoreDNS serves cluster names only: there is no forward plugin, because nothing may reach beyond the cluster.
func runCoreDNS() int {
	dnsserver.Directives = []string{"bind", "log", "errors", "health", "ready", "loadbalance", "cache", "kubernetes"}
	coremain.Run()
	return 0
}
