// Bench compares turns through the client with the same bytes through a bare echo, by grpc-go as well.
//
//	bench TURNTREE_URL ECHO_URL SECONDS < TURNS
//
// Each line of TURNS is a JSON array of items; the first 25 are the history of every session.
//
// A turn reads what is new since the last read, which is the four items of the turn before, and adds four items. An echo
// turn is two calls of benchmarks/echo.py, with the bytes of both requests. It prints the median latency in milliseconds
// of turns one after another, and turns a second of 64 sessions at once; half of the time is for each.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"turntree"
	"turntree/turntreepb"
)

const (
	sessionCount = 64
	historyTurns = 25
	slice        = 250 * time.Millisecond
)

func main() {
	if len(os.Args) != 4 {
		fail("usage: bench TURNTREE_URL ECHO_URL SECONDS < TURNS")
	}
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	check(err)
	client, err := turntree.New(os.Args[1])
	check(err)
	echo, err := grpc.NewClient(os.Args[2], grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)

	turns := readTurns()
	if len(turns) <= historyTurns {
		fail(fmt.Sprintf("%d turns are given, and a history has %d", len(turns), historyTurns))
	}
	name := uuid.NewString()
	var sessions []*session
	for number := range sessionCount {
		sessions = append(sessions, newSession(client, echo, fmt.Sprintf("bench-%s-%d", name, number), turns))
	}
	rounds := max(1, int(seconds/(4*slice.Seconds())))
	sides := map[string]func(int){
		"turns": func(number int) { sessions[number].turn() },
		"echo":  func(number int) { sessions[number].echoTurn() },
	}
	latencies, rates := map[string][]float64{}, map[string][]float64{}
	interleaved(rounds, func(side string, isWarm bool) {
		if samples := oneByOne(sides[side]); isWarm {
			latencies[side] = append(latencies[side], samples...)
		}
	})
	interleaved(rounds, func(side string, isWarm bool) {
		if rate := atOnce(sides[side]); isWarm {
			rates[side] = append(rates[side], rate)
		}
	})
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"sequential": map[string]float64{"turns": median(latencies["turns"]), "echo": median(latencies["echo"])},
		"at_once":    map[string]float64{"turns": median(rates["turns"]), "echo": median(rates["echo"])},
	}))
}

// interleaved measures both sides by turns, each first in every second round, so that a busy moment of the machine falls
// on both. The first round is for warming up.
func interleaved(rounds int, measure func(side string, isWarm bool)) {
	order := []string{"turns", "echo"}
	for round := range rounds + 1 {
		for _, side := range order {
			measure(side, round > 0)
		}
		slices.Reverse(order)
	}
}

// oneByOne goes round the sessions for a slice of time, and gives the milliseconds that each turn took.
func oneByOne(turn func(number int)) []float64 {
	var latencies []float64
	for start := time.Now(); time.Since(start) < slice; {
		begin := time.Now()
		turn(len(latencies) % sessionCount)
		latencies = append(latencies, 1000*time.Since(begin).Seconds())
	}
	return latencies
}

// atOnce lets every session make turns for a slice of time, and gives the turns a second.
func atOnce(turn func(number int)) float64 {
	var count atomic.Int64
	var workers sync.WaitGroup
	start := time.Now()
	for number := range sessionCount {
		workers.Go(func() {
			for time.Since(start) < slice {
				turn(number)
				count.Add(1)
			}
		})
	}
	workers.Wait()
	return float64(count.Load()) / time.Since(start).Seconds()
}

// session is a conversation with a history, and what is to be said in it.
type session struct {
	client *turntree.Client
	echo   *grpc.ClientConn
	id     string
	branch *turntreepb.BranchPointer
	cursor []byte
	turns  [][][]byte
	echoes [][2][]byte // the two requests of each turn, for the echo
	next   int
}

func newSession(client *turntree.Client, echo *grpc.ClientConn, id string, turns [][][]byte) *session {
	history := slices.Concat(turns[:historyTurns]...)
	_, err := client.AddItems(context.Background(), &turntreepb.AddItemsRequest{SessionId: id, Items: history})
	check(err)
	s := &session{client: client, echo: echo, id: id, turns: turns[historyTurns:]}
	if read := s.read(); len(read.GetItems()) != len(history) {
		fail("the history was not read")
	}
	for _, items := range s.turns {
		add := s.adding(items)
		add.RequestId = uuid.Must(uuid.NewV7()).String() // as the client gives one
		s.echoes = append(s.echoes, [2][]byte{framed(s.reading()), framed(add)})
	}
	return s
}

func (s *session) turn() {
	if read := s.read(); read.GetKind() == turntreepb.DeltaKind_DELTA_KIND_REPLACED {
		fail("more was read than is new")
	}
	response, err := s.client.AddItems(context.Background(), s.adding(s.turns[s.next%len(s.turns)]))
	check(err)
	s.branch = response.GetBranch()
	s.next++
}

func (s *session) read() *turntreepb.ItemsDelta {
	response, err := s.client.GetItems(context.Background(), s.reading())
	check(err)
	s.branch, s.cursor = response.GetDelta().GetBranch(), response.GetDelta().GetCursor()
	return response.GetDelta()
}

func (s *session) echoTurn() {
	for _, request := range s.echoes[s.next%len(s.echoes)] {
		var reply []byte
		check(s.echo.Invoke(context.Background(), "/benchmarks.Echo/Unary", request, &reply, grpc.ForceCodec(raw{})))
		if len(reply) != len(request)-echoHeaderBytes {
			fail("the echo says something else")
		}
	}
	s.next++
}

func (s *session) reading() *turntreepb.GetItemsRequest {
	return &turntreepb.GetItemsRequest{SessionId: s.id, Branch: s.branch, Cursor: s.cursor}
}

func (s *session) adding(items [][]byte) *turntreepb.AddItemsRequest {
	return &turntreepb.AddItemsRequest{SessionId: s.id, Branch: s.branch, Items: items}
}

const echoHeaderBytes = 8

// framed is a request to echo a message.
func framed(message proto.Message) []byte {
	body, err := proto.Marshal(message)
	check(err)
	return fmt.Appendf(nil, "%0*d%s", echoHeaderBytes, len(body), body)
}

// raw sends and receives bytes as they are.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error) { return value.([]byte), nil }

func (raw) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = data
	return nil
}

func (raw) Name() string { return "raw" }

// readTurns gives the turns on standard input, each a line with a JSON array of its items.
func readTurns() [][][]byte {
	var turns [][][]byte
	for input := json.NewDecoder(os.Stdin); ; {
		var items []json.RawMessage
		if err := input.Decode(&items); err == io.EOF {
			return turns
		} else {
			check(err)
		}
		var turn [][]byte
		for _, item := range items {
			turn = append(turn, item)
		}
		turns = append(turns, turn)
	}
}

func median(samples []float64) float64 {
	slices.Sort(samples)
	return math.Round(1e4*samples[len(samples)/2]) / 1e4
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
