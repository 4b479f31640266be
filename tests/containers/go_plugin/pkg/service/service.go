// Package service serves KMS v2 on a Unix socket: gRPC and protobuf in the few forms that this API needs.
package service

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"

	"golang.org/x/net/http2"
)

// Service holds the key. Calls come from many goroutines.
type Service interface {
	KeyID() string
	Encrypt(plaintext []byte) (ciphertext []byte, err error)
	Decrypt(ciphertext []byte) (plaintext []byte, err error)
}

// A field of a message: all that the API has are strings and bytes.
type field struct {
	number int
	value  []byte
}

// ListenAndServe replaces the socket at the path, and serves until the listener fails.
func ListenAndServe(socket string, service Service) error {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	var server http2.Server
	options := &http2.ServeConnOpts{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, service) })}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go server.ServeConn(connection, options)
	}
}

func handle(w http.ResponseWriter, r *http.Request, service Service) {
	w.Header().Set("Content-Type", "application/grpc")
	body, err := io.ReadAll(r.Body)
	var answer []byte
	if err == nil {
		answer, err = call(path.Base(r.URL.Path), body, service)
	}
	if err != nil {
		w.WriteHeader(http.StatusOK)
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "2")
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", err.Error())
		return
	}
	w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(answer))), answer...))
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}

func call(method string, body []byte, service Service) ([]byte, error) {
	if len(body) < 5 {
		return nil, fmt.Errorf("no message")
	}
	request, err := parse(body[5:])
	if err != nil {
		return nil, err
	}
	switch method {
	case "Status":
		return message(field{1, []byte("v2")}, field{2, []byte("ok")}, field{3, []byte(service.KeyID())}), nil
	case "Encrypt":
		ciphertext, err := service.Encrypt(request[1])
		return message(field{1, ciphertext}, field{2, []byte(service.KeyID())}), err
	case "Decrypt":
		if string(request[3]) != service.KeyID() {
			return nil, fmt.Errorf("invalid keyID")
		}
		plaintext, err := service.Decrypt(request[1])
		return message(field{1, plaintext}), err
	}
	return nil, fmt.Errorf("unknown method %s", method)
}

func message(fields ...field) (text []byte) {
	for _, f := range fields {
		text = binary.AppendUvarint(text, uint64(f.number<<3|2))
		text = append(binary.AppendUvarint(text, uint64(len(f.value))), f.value...)
	}
	return text
}

func parse(text []byte) (map[int][]byte, error) {
	fields := map[int][]byte{}
	for len(text) > 0 {
		tag, n := binary.Uvarint(text)
		if n <= 0 || tag&7 != 2 {
			return nil, fmt.Errorf("not a message of KMS v2")
		}
		size, m := binary.Uvarint(text[n:])
		if m <= 0 || size > uint64(len(text)-n-m) {
			return nil, fmt.Errorf("a message is cut short")
		}
		text = text[n+m:]
		fields[int(tag>>3)], text = text[:size], text[size:]
	}
	return fields, nil
}
