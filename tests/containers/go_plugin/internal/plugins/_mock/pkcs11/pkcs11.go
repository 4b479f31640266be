// Package pkcs11 seals with an AES key of a PKCS#11 token.
package pkcs11

import (
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/ThalesIgnite/crypto11"
)

// Key is a key of a token. Its calls may come from many goroutines.
type Key struct {
	label string
	aead  cipher.AEAD
}

// Open finds the key by its label, in the token that the file names.
func Open(config, label string) (*Key, error) {
	token, err := crypto11.ConfigureFromFile(config)
	if err != nil {
		return nil, err
	}
	key, err := token.FindKey(nil, []byte(label))
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, fmt.Errorf("key not found")
	}
	aead, err := key.NewGCM()
	return &Key{label, aead}, err
}

func (k *Key) KeyID() string { return k.label }

func (k *Key) Encrypt(plaintext []byte) ([]byte, error) {
	nonce := make([]byte, k.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return k.aead.Seal(nonce, nonce, plaintext, []byte(k.label)), nil
}

func (k *Key) Decrypt(ciphertext []byte) ([]byte, error) {
	size := k.aead.NonceSize()
	if len(ciphertext) < size {
		return nil, fmt.Errorf("the ciphertext is too short")
	}
	return k.aead.Open(nil, ciphertext[:size], ciphertext[size:], []byte(k.label))
}
