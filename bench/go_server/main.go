// A KMS v2 plugin on k8s.io/kms and grpc-go, to compare mock-kms-provider with. It encrypts by AES-256-GCM with a random key.
//
// It needs a module that has k8s.io/kms, such as a checkout of Kubernetes: copy this file to cmd/kms-go-server there and run
// `go build -o kms-go-server ./cmd/kms-go-server`. Then run `bench/run --go-server ./kms-go-server load`.
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"google.golang.org/grpc"
	"k8s.io/kms/pkg/service"
)

const keyID = "default/v1/00000000"

type plugin struct{ aead cipher.AEAD }

func newPlugin() (*plugin, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &plugin{aead}, nil
}

func (p *plugin) Status(context.Context) (*service.StatusResponse, error) {
	return &service.StatusResponse{Version: "v2", Healthz: "ok", KeyID: keyID}, nil
}

func (p *plugin) Encrypt(_ context.Context, _ string, data []byte) (*service.EncryptResponse, error) {
	nonce := make([]byte, p.aead.NonceSize(), p.aead.NonceSize()+len(data)+p.aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return &service.EncryptResponse{
		Ciphertext:  p.aead.Seal(nonce, nonce, data, nil),
		KeyID:       keyID,
		Annotations: map[string][]byte{"format.mock-kms.test": []byte("1")},
	}, nil
}

func (p *plugin) Decrypt(_ context.Context, _ string, req *service.DecryptRequest) ([]byte, error) {
	size := p.aead.NonceSize()
	if len(req.Ciphertext) < size {
		return nil, errors.New("the ciphertext is too short")
	}
	return p.aead.Open(nil, req.Ciphertext[:size], req.Ciphertext[size:], nil)
}

func run() error {
	address := flag.String("listen-addr", "", "Socket: unix:///path")
	version := flag.Bool("version", false, "Print the versions of grpc-go and Go")
	flag.Parse()
	if *version {
		fmt.Printf("k8s.io/kms, grpc-go %s, %s\n", grpc.Version, runtime.Version())
		return nil
	}
	path, found := strings.CutPrefix(*address, "unix://")
	if !found {
		return errors.New("--listen-addr must be unix:///path")
	}
	p, err := newPlugin()
	if err != nil {
		return err
	}
	return service.NewGRPCService(path, 10*time.Second, p).ListenAndServe()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kms-go-server:", err)
		os.Exit(1)
	}
}
