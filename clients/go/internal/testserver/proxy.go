package testserver

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on to a server, cuts each of the first ones after a number of bytes from the server, and
// swallows what is said on others.
type Proxy struct {
	Address string // host:port

	connections atomic.Int64
	silent      atomic.Int64
}

// StartProxy starts a proxy to a server; the connection i is cut after cutAfter[i] bytes, later ones never.
func StartProxy(t *testing.T, server string, cutAfter ...int64) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	proxy := &Proxy{Address: listener.Addr().String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			number := proxy.connections.Add(1) - 1
			limit := int64(-1)
			if number < int64(len(cutAfter)) {
				limit = cutAfter[number]
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			go proxy.pass(number, client, upstream, -1)
			go proxy.pass(number, upstream, client, limit)
		}
	}()
	return proxy
}

// GoSilent swallows from now on what is said on the connections that there are, and leaves them open.
func (p *Proxy) GoSilent() {
	p.silent.Store(p.connections.Load())
}

// Connections is how many connections were made.
func (p *Proxy) Connections() int {
	return int(p.connections.Load())
}

// pass copies until an end, or until the limit, if that is not negative.
func (p *Proxy) pass(number int64, from, to net.Conn, limit int64) {
	defer func() { _, _ = from.Close(), to.Close() }()
	source := io.Reader(from)
	if limit >= 0 {
		source = io.LimitReader(from, limit)
	}
	buffer := make([]byte, 16*1024)
	for {
		count, err := source.Read(buffer)
		if err != nil {
			return
		}
		if number < p.silent.Load() {
			continue
		}
		if _, err := to.Write(buffer[:count]); err != nil {
			return
		}
	}
}
