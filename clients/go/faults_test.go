package turntree_test

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"turntree"
	"turntree/internal/testserver"
	"turntree/turntreepb"
)

// A server that is away fails a call and a stream with SERVER_UNREACHABLE, after the time that is set.
func TestServerAway(t *testing.T) {
	server := testserver.Start(t)
	client := connected(t, server.Address, turntree.WithRetryFor(short))
	server.Kill()
	_, calling := client.GetSession(t.Context(), &turntreepb.GetSessionRequest{SessionId: sessionID})
	failures := []error{calling}
	for _, err := range client.Session(sessionID).StreamTurns(t.Context()) {
		failures = append(failures, err)
	}
	for _, err := range client.Session(sessionID).Watch(t.Context()) {
		failures = append(failures, err)
	}
	equal(t, len(failures), 3)
	for _, err := range failures {
		failure := failed(t, err, codes.Unavailable, turntree.ReasonServerUnreachable)
		equal(t, failure.Facts["target"], server.Address)
		equal(t, strings.Contains(failure.Message, "refused"), true)
	}
}

// Calls go on through a kill -9 of the server and its restart, and each has one effect.
func TestKilledServer(t *testing.T) {
	server, client := serving(t)
	acknowledged := make(chan int, 60)
	go func() {
		defer close(acknowledged)
		for number := range 60 {
			if _, err := client.AddItems(t.Context(), adding(user(strconv.Itoa(number)))); err != nil {
				t.Error(err)
				return
			}
			acknowledged <- number
		}
	}()
	for number := range acknowledged {
		if number == 10 || number == 30 {
			server.Kill()
			server.StartAgain()
		}
	}
	var expected [][]byte
	for number := range 60 {
		expected = append(expected, user(strconv.Itoa(number)))
	}
	equal(t, allItems(t, client), expected)
}

// A session that sixty read while its server is away is read by every one of them when it is back.
func TestReadersOfAServerThatIsAway(t *testing.T) {
	server, client := serving(t)
	must(client.AddItems(t.Context(), adding(user("kept"))))(t)
	server.Kill()
	read := make(chan error, 60)
	for range cap(read) {
		go func() {
			items, err := client.Session(sessionID).Items(t.Context())
			if err == nil && len(items) != 1 {
				err = fmt.Errorf("%d items", len(items))
			}
			read <- err
		}()
	}
	time.Sleep(time.Second)
	server.StartAgain()
	for range cap(read) {
		equal(t, <-read, nil)
	}
}

// A call whose connection was cut is repeated under the same name, and has one effect.
func TestCutAnswers(t *testing.T) {
	server, writer := serving(t)
	must(writer.AddItems(t.Context(), adding(user("first"))))(t)
	cuts := []int64{40, 60, 80, 120, 160, 200}
	for _, bytes := range cuts {
		proxy := testserver.StartProxy(t, server.Address, bytes)
		client := connected(t, proxy.Address, turntree.WithRetryFor(patience))
		for _, text := range []string{"one", "two", "three"} {
			must(client.AddItems(t.Context(), adding(user(text))))(t)
		}
		equal(t, proxy.Connections(), 2)
	}
	equal(t, len(allItems(t, writer)), 1+3*len(cuts))
}

// turnItems reads a session by its turns.
func turnItems(t *testing.T, client *turntree.Client) [][]byte {
	t.Helper()
	var items [][]byte
	for part, err := range client.Session(sessionID).StreamTurns(t.Context()) {
		for _, turn := range must(part, err)(t).Turns {
			items = append(items, turn.Items...)
		}
		equal(t, part.Restarted, false)
	}
	return items
}

// itemsOnce reads a session item by item, and must not begin anew on the way.
func itemsOnce(t *testing.T, client *turntree.Client) [][]byte {
	t.Helper()
	var items [][]byte
	for part, err := range client.StreamItems(t.Context(), &turntreepb.StreamItemsRequest{SessionId: sessionID}) {
		delta := must(part, err)(t).Delta
		equal(t, delta.Kind == turntreepb.DeltaKind_DELTA_KIND_REPLACED, items == nil)
		items = append(items, delta.Items...)
	}
	return items
}

// A history of 5 MB comes whole, in order, over connections that are cut within it.
func TestCutStreams(t *testing.T) {
	server, writer := serving(t)
	var items [][]byte
	for number := range 50 {
		items = append(items, user(fmt.Sprint(number, strings.Repeat("ü", 50_000))))
	}
	for part := range slices.Chunk(items, 10) {
		must(writer.AddItems(t.Context(), adding(part...)))(t)
	}
	for _, read := range []func(*testing.T, *turntree.Client) [][]byte{itemsOnce, turnItems} {
		proxy := testserver.StartProxy(t, server.Address, 1_500_000, 2_500_000)
		streamed := read(t, connected(t, proxy.Address, turntree.WithRetryFor(patience)))
		equal(t, slices.EqualFunc(streamed, items, slices.Equal), true)
		equal(t, proxy.Connections(), 3)
	}
}

// A turn that is larger than a message goes on where it was cut, with no item twice.
func TestCutTurns(t *testing.T) {
	server, writer := serving(t)
	items := [][]byte{user("a long turn")}
	for number := range 40 {
		items = append(items, assistant(fmt.Sprint(number, strings.Repeat("x", 100_000))))
	}
	must(writer.AddItems(t.Context(), adding(items...)))(t)
	proxy := testserver.StartProxy(t, server.Address, 2_500_000)
	streamed := turnItems(t, connected(t, proxy.Address, turntree.WithRetryFor(patience)))
	equal(t, slices.EqualFunc(streamed, items, slices.Equal), true)
	equal(t, proxy.Connections(), 2)
}

// A watch goes on through a kill -9 and restart of the server, with every change once, for longer than calls are tried.
func TestWatchGoesOn(t *testing.T) {
	server, writer := serving(t)
	impatient := connected(t, server.Address, turntree.WithRetryFor(short))
	must(writer.AddItems(t.Context(), adding(user("1"))))(t)
	next, stop := iter.Pull2(impatient.Session(sessionID).Watch(t.Context()))
	defer stop()
	observe := func(kind turntreepb.DeltaKind, text string) {
		t.Helper()
		change, err, _ := next()
		delta := must(change, err)(t).Delta
		equal(t, delta.Kind, kind)
		equal(t, delta.Items, [][]byte{user(text)})
	}
	observe(turntreepb.DeltaKind_DELTA_KIND_REPLACED, "1")
	server.Kill()
	restarted := make(chan struct{})
	time.AfterFunc(3*short, func() {
		defer close(restarted)
		server.StartAgain()
		_, err := writer.AddItems(t.Context(), adding(user("2")))
		if err != nil {
			t.Error(err)
		}
	})
	observe(turntreepb.DeltaKind_DELTA_KIND_APPENDED, "2")
	<-restarted
	must(writer.AddItems(t.Context(), adding(user("3"))))(t)
	observe(turntreepb.DeltaKind_DELTA_KIND_APPENDED, "3")
}

// A connection that dies without a word is noticed within seconds, by a call and by a watch that only listens.
func TestSilentConnection(t *testing.T) {
	server, writer := serving(t)
	proxy := testserver.StartProxy(t, server.Address)
	client := connected(t, proxy.Address)
	next, stop := iter.Pull2(client.Session(sessionID).Watch(t.Context()))
	defer stop()
	change, err, _ := next()
	must(change, err)(t)
	proxy.GoSilent()
	must(client.AddItems(t.Context(), adding(user("1"))))(t)
	change, err, _ = next()
	equal(t, must(change, err)(t).Delta.Items, [][]byte{user("1")})
	equal(t, proxy.Connections(), 2)
	equal(t, len(allItems(t, writer)), 1)
}
