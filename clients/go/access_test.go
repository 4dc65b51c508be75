package turntree_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"turntree"
	"turntree/internal/testserver"
	"turntree/turntreepb"
)

// guarded starts a server with TLS and keys, and gives its address as a URL, and the key of a reader and of a writer.
func guarded(t *testing.T, options ...string) (url, reader, writer string) {
	t.Helper()
	folder := t.TempDir()
	cert, key := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	certify(t, cert, key)
	keys := filepath.Join(folder, "keys")
	reader, writer = createKey(t, keys, "reader"), createKey(t, keys, "writer")
	options = append(options, "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", cert, "--keys-file", keys)
	server := testserver.Start(t, options...)
	url = "turntrees://" + server.Address + "?ca_file=" + cert + "&cert_file=" + cert + "&key_file=" + key
	return url, reader, writer
}

func createKey(t *testing.T, file, role string) string {
	t.Helper()
	command := exec.Command(testserver.Turntree(t), "keys", "create", "--name", role, "--role", role, "--keys-file", file)
	output := must(command.Output())(t)
	fields := strings.Fields(string(output))
	return fields[len(fields)-1]
}

// certify writes a certificate for this machine, which vouches for itself as a server and as a client.
func certify(t *testing.T, cert, key string) {
	t.Helper()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "turntree test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	public := must(x509.CreateCertificate(rand.Reader, template, template, private.Public(), private))(t)
	secret := must(x509.MarshalPKCS8PrivateKey(private))(t)
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: public},
		key:  {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Over mutual TLS, a token gives what its role may do; none, a wrong one and a reader's are refused for what they are.
func TestCredentials(t *testing.T) {
	url, reader, writer := guarded(t)
	add := func(options ...turntree.Option) error {
		_, err := connected(t, url, options...).AddItems(t.Context(), adding(user("hello")))
		return err
	}
	failed(t, add(), codes.Unauthenticated, turntree.ReasonCredentialRequired)
	failed(t, add(turntree.WithToken("wrong")), codes.Unauthenticated, turntree.ReasonCredentialInvalid)
	failed(t, add(turntree.WithToken(reader)), codes.PermissionDenied, turntree.ReasonRoleInsufficient)
	if err := add(turntree.WithToken(writer)); err != nil {
		t.Fatal(err)
	}
	source := func(context.Context) (string, error) { return reader, nil }
	equal(t, allItems(t, connected(t, url, turntree.WithTokenSource(source))), [][]byte{user("hello")})
	t.Setenv("TURNTREE_TOKEN", writer)
	if err := add(); err != nil {
		t.Fatal(err)
	}

	untrusting, _, _ := strings.Cut(url, "?")
	_, err := connected(t, untrusting, turntree.WithRetryFor(short)).AddItems(t.Context(), adding(user("hello")))
	failed(t, err, codes.Unavailable, turntree.ReasonServerUnreachable)
}

// A refusal that says how long to wait is waited out, and one that cannot be within the time comes with that wait.
func TestRates(t *testing.T) {
	url, reader, _ := guarded(t, "--rate-max", "4")
	request := &turntreepb.GetItemsRequest{SessionId: sessionID}
	patient := connected(t, url, turntree.WithToken(reader))
	for range 12 {
		must(patient.GetItems(t.Context(), request))(t)
	}
	hasty := connected(t, url, turntree.WithToken(reader), turntree.WithRetryFor(0))
	var err error
	for range 12 {
		if _, err = hasty.GetItems(t.Context(), request); err != nil {
			break
		}
	}
	equal(t, failed(t, err, codes.ResourceExhausted, turntree.ReasonRateExceeded).RetryAfter > 0, true)
}
