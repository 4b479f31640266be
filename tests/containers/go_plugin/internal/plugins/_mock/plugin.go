// A KMS v2 plugin as the upstream mock is one: the same options, the same layout, the key in a PKCS#11 token.
package main

import (
	"flag"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"example.org/kms/pkg/service"
	"example.org/kms/plugins/mock/pkcs11"
)

func main() {
	listenAddr := flag.String("listen-addr", "unix:///tmp/kms.socket", "gRPC listen address")
	flag.Duration("timeout", 5*time.Second, "gRPC timeout")
	config := flag.String("config-file-path", "/etc/softhsm-config.json", "SoftHSM config file path")
	flag.Parse()

	key, err := pkcs11.Open(*config, "kms-test")
	if err != nil {
		panic("failed to create remote service: " + err.Error())
	}
	go func() {
		panic(service.ListenAndServe(strings.TrimPrefix(*listenAddr, "unix://"), key))
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
}
