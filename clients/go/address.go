package turntree

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	urlField = "url"
	urlForms = "host:port, turntree://host:port or turntrees://host:port?ca_file=…&cert_file=…&key_file=…"
)

var (
	hostname = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	digits   = regexp.MustCompile(`^[0-9]{1,5}$`)
	password = regexp.MustCompile(`(?s)^([\w+.-]+://)?.*@`)
)

// address is where a server is, and how it is reached.
type address struct {
	target string    // host:port
	tls    *tlsFiles // nil without TLS
}

// tlsFiles are files in PEM: the certificates to trust, and what the client shows of itself.
type tlsFiles struct {
	ca, cert, key string
}

func parseAddress(text string) (address, error) {
	scheme, rest, hasScheme := strings.Cut(text, "://")
	target, query := text, ""
	if hasScheme {
		target, query, _ = strings.Cut(rest, "?")
		target = strings.TrimSuffix(target, "/")
	}
	option, _, _ := strings.Cut(query, "=")
	switch {
	case strings.Contains(target+option, "@"):
		return address{}, refused(text, "without a user and a password: a token is an option of New")
	case strings.Contains(text, "#"), !isTarget(target):
		return address{}, refused(text, urlForms)
	case hasScheme && scheme == "turntrees":
		files, err := parseTLSFiles(text, query)
		return address{target, files}, err
	case hasScheme && scheme != "turntree" || query != "":
		return address{}, refused(text, urlForms)
	}
	return address{target: target}, nil
}

// refused is the error of a URL, which it shows without the password that it may have.
func refused(text, limit string) error {
	return invalid(urlField, password.ReplaceAllString(text, "$1(hidden)@"), limit)
}

func isTarget(target string) bool {
	host, port, err := net.SplitHostPort(target)
	if err != nil || !digits.MatchString(port) {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return false
	}
	if strings.HasPrefix(target, "[") {
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.Is6()
	}
	return hostname.MatchString(host)
}

func parseTLSFiles(text, query string) (*tlsFiles, error) {
	options, err := url.ParseQuery(query)
	if err != nil {
		return nil, refused(text, urlForms)
	}
	var files tlsFiles
	paths := map[string]*string{"ca_file": &files.ca, "cert_file": &files.cert, "key_file": &files.key}
	for name, values := range options {
		path := paths[name]
		if path == nil {
			return nil, refused(text, "without the option '"+name+"'")
		}
		if len(values) != 1 || values[0] == "" {
			return nil, refused(text, "with one file as '"+name+"'")
		}
		*path = values[0]
	}
	if (files.cert == "") != (files.key == "") {
		return nil, refused(text, "with both cert_file and key_file, or neither")
	}
	return &files, nil
}

// isPrivate tells whether nobody else can read on the way what is sent there.
func (a address) isPrivate() bool {
	if a.tls != nil {
		return true
	}
	host, _, _ := net.SplitHostPort(a.target)
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// credentials reads the files that the address names.
func (a address) credentials() (credentials.TransportCredentials, error) {
	if a.tls == nil {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.tls.ca != "" {
		pem, err := readFile("ca_file", a.tls.ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("ca_file", a.tls.ca, "a file that holds a certificate in PEM")
		}
	}
	if a.tls.cert != "" {
		cert, err := readFile("cert_file", a.tls.cert)
		if err != nil {
			return nil, err
		}
		key, err := readFile("key_file", a.tls.key)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, invalid("cert_file", a.tls.cert, "a certificate in PEM that belongs to key_file")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

func readFile(option, path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, invalid(option, path, "a file that can be read")
	}
	return content, nil
}
