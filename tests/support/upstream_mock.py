"""Makes a repository laid out like Kubernetes', with a KMS v2 plugin in Go that keeps its key in SoftHSM, as the upstream mock does.

generate(directory) makes it. The plugin lies in MOCK, uses the module k8s.io/kms of the same repository by a `replace`, and has its other
modules in `vendor`. The modules are those of Debian's golang-...-dev packages, so nothing is fetched. The Go code is the tests' own.
"""

import os
import pathlib
import shutil
import subprocess
import zipfile

from support.git_servers import Repository

ROOT = pathlib.Path(__file__).resolve().parents[2]
KMS = "staging/src/k8s.io/kms"
MOCK = f"{KMS}/internal/plugins/_mock"
DEBIAN = pathlib.Path("/usr/share/gocode/src")
VERSION = "v1.0.0"
MODULES = ["google.golang.org/grpc", "google.golang.org/genproto", "github.com/golang/protobuf", "github.com/miekg/pkcs11",
           "golang.org/x/net", "golang.org/x/sys", "golang.org/x/text"]

SERVICE = """
// Package service serves KMS v2 on a Unix socket for whoever can encrypt.
package service

import (
	"context"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"

	v2 "k8s.io/kms/apis/v2"
)

// Cipher is the key.
type Cipher interface {
	Encrypt(plaintext []byte) ([]byte, error)
	Decrypt(ciphertext []byte) ([]byte, error)
}

type server struct {
	v2.UnimplementedKeyManagementServiceServer
	key string
	c   Cipher
}

func (s *server) Status(context.Context, *v2.StatusRequest) (*v2.StatusResponse, error) {
	return &v2.StatusResponse{Version: "v2", Healthz: "ok", KeyId: s.key}, nil
}

func (s *server) Encrypt(_ context.Context, r *v2.EncryptRequest) (*v2.EncryptResponse, error) {
	sealed, err := s.c.Encrypt(r.Plaintext)
	return &v2.EncryptResponse{Ciphertext: sealed, KeyId: s.key}, err
}

func (s *server) Decrypt(_ context.Context, r *v2.DecryptRequest) (*v2.DecryptResponse, error) {
	plain, err := s.c.Decrypt(r.Ciphertext)
	return &v2.DecryptResponse{Plaintext: plain}, err
}

// Serve returns when the listener fails.
func Serve(address, key string, c Cipher) error {
	path := strings.TrimPrefix(address, "unix://")
	os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	v2.RegisterKeyManagementServiceServer(s, &server{key: key, c: c})
	return s.Serve(listener)
}
"""

TOKEN = """
// Package token uses an AES key of a PKCS#11 token.
package token

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"sync"

	"github.com/miekg/pkcs11"
)

const nonceSize = 12

// Key is one key of a token.
type Key struct {
	lock    sync.Mutex
	ctx     *pkcs11.Ctx
	session pkcs11.SessionHandle
	key     pkcs11.ObjectHandle
}

// Open reads the library, the token's label and its PIN from a file, and finds the key by its label.
func Open(file, label string) (*Key, error) {
	var config struct{ Path, TokenLabel, Pin string }
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	ctx := pkcs11.New(config.Path)
	if ctx == nil {
		return nil, errors.New("cannot load " + config.Path)
	}
	if err := ctx.Initialize(); err != nil {
		return nil, err
	}
	slots, err := ctx.GetSlotList(true)
	if err != nil {
		return nil, err
	}
	for _, slot := range slots {
		info, err := ctx.GetTokenInfo(slot)
		if err != nil || info.Label != config.TokenLabel {
			continue
		}
		return open(ctx, slot, config.Pin, label)
	}
	return nil, errors.New("there is no token " + config.TokenLabel)
}

func open(ctx *pkcs11.Ctx, slot uint, pin, label string) (*Key, error) {
	session, err := ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, err
	}
	if err := ctx.Login(session, pkcs11.CKU_USER, pin); err != nil {
		return nil, err
	}
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)}
	if err := ctx.FindObjectsInit(session, template); err != nil {
		return nil, err
	}
	found, _, err := ctx.FindObjects(session, 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("there is no key " + label)
	}
	return &Key{ctx: ctx, session: session, key: found[0]}, ctx.FindObjectsFinal(session)
}

func mechanism(nonce []byte) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, pkcs11.NewGCMParams(nonce, nil, 128))}
}

// Encrypt puts the nonce in front.
func (k *Key) Encrypt(plaintext []byte) ([]byte, error) {
	k.lock.Lock()
	defer k.lock.Unlock()
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	if err := k.ctx.EncryptInit(k.session, mechanism(nonce), k.key); err != nil {
		return nil, err
	}
	sealed, err := k.ctx.Encrypt(k.session, plaintext)
	return append(nonce, sealed...), err
}

// Decrypt fails if the text was changed.
func (k *Key) Decrypt(sealed []byte) ([]byte, error) {
	k.lock.Lock()
	defer k.lock.Unlock()
	if len(sealed) < nonceSize {
		return nil, errors.New("the text is too short")
	}
	if err := k.ctx.DecryptInit(k.session, mechanism(sealed[:nonceSize]), k.key); err != nil {
		return nil, err
	}
	return k.ctx.Decrypt(k.session, sealed[nonceSize:])
}
"""

PLUGIN = """
package main

import (
	"flag"
	"log"

	"k8s.io/kms/pkg/service"
	"k8s.io/kms/plugins/mock/token"
)

func main() {
	address := flag.String("listen-addr", "unix:///tmp/kms.socket", "gRPC listen address")
	config := flag.String("config-file-path", "/etc/softhsm-config.json", "SoftHSM config file path")
	flag.Parse()
	key, err := token.Open(*config, "kms-test")
	if err != nil {
		log.Fatal("cannot use the token: ", err)
	}
	log.Fatal(service.Serve(*address, "kms-test", key))
}
"""


def _module(name, requires=(), more=""):
    lines = "".join(f"\t{module} {VERSION}\n" for module in requires)
    return f"module {name}\n\ngo 1.19\n\nrequire (\n{lines})\n{more}"


def _proxy(directory):
    """Debian's packages as Go's file proxy serves modules (go.dev/ref/mod, "GOPROXY protocol")."""
    for name in MODULES:
        place = directory / name / "@v"
        place.mkdir(parents=True)
        (place / "list").write_text(f"{VERSION}\n")
        (place / f"{VERSION}.info").write_text(f'{{"Version": "{VERSION}"}}')
        (place / f"{VERSION}.mod").write_text(f"module {name}\n\ngo 1.19\n")
        with zipfile.ZipFile(place / f"{VERSION}.zip", "w") as archive:
            archive.writestr(f"{name}@{VERSION}/go.mod", f"module {name}\n\ngo 1.19\n")
            for file in sorted((DEBIAN / name).rglob("*")):
                if file.is_file() and file.suffix in (".go", ".s", ".h", ".c") and not file.name.endswith("_test.go"):
                    archive.write(file, f"{name}@{VERSION}/{file.relative_to(DEBIAN / name)}")


def _generate_api(proto, target):
    """Go code of the KMS v2 API from this project's own contract."""
    target.mkdir(parents=True)
    options = [f"--{kind}_opt=Mkms_v2.proto=k8s.io/kms/apis/v2,paths=source_relative" for kind in ("go", "go-grpc")]
    subprocess.run(["protoc", f"-I{proto.parent}", f"--go_out={target}", f"--go-grpc_out={target}", *options, proto], check=True)


def _vendor(mock, scratch):
    _proxy(scratch / "proxy")
    environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), "GOPROXY": f"file://{scratch}/proxy", "GONOSUMDB": "*", "GONOSUMCHECK": "1",
                   "GOFLAGS": "-mod=mod -modcacherw", "GOSUMDB": "off"}
    for command in (["tidy"], ["vendor"]):
        done = subprocess.run(["go", "mod", *command], cwd=mock, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def generate(directory):
    """The Repository, with two thousand other files around the plugin."""
    repository = Repository(directory)
    kms, mock = repository.path / KMS, repository.path / MOCK
    _generate_api(ROOT / "proto/kms_v2.proto", kms / "apis/v2")
    (mock / "token").mkdir(parents=True)
    (kms / "pkg/service").mkdir(parents=True)
    (kms / "go.mod").write_text(_module("k8s.io/kms", ["google.golang.org/grpc", "github.com/golang/protobuf"]))
    (kms / "pkg/service/service.go").write_text(SERVICE)
    (mock / "token/token.go").write_text(TOKEN)
    (mock / "plugin.go").write_text(PLUGIN)
    (mock / "go.mod").write_text(_module("k8s.io/kms/plugins/mock", ["github.com/miekg/pkcs11", "google.golang.org/grpc"],
                                         "require k8s.io/kms v0.0.0\nreplace k8s.io/kms => ../../../../kms\n"))
    scratch = pathlib.Path(f"{directory}.modules")
    scratch.mkdir()
    _vendor(mock, scratch)
    shutil.rmtree(scratch)
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.commit({f"pkg/area{i // 50}/part{i % 50}/file.go": f"package part{i}\n" for i in range(2000)})
    return repository
