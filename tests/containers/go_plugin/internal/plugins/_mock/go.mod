module example.org/kms/plugins/mock

go 1.19

require (
	example.org/kms v0.0.0-00010101000000-000000000000
	github.com/ThalesIgnite/crypto11 v1.2.5
)

require (
	github.com/miekg/pkcs11 v1.0.3 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/thales-e-security/pool v0.0.2 // indirect
	golang.org/x/net v0.7.0 // indirect
	golang.org/x/text v0.7.0 // indirect
)

replace example.org/kms => ../../../../kms
