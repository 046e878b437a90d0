// The conversation of test/clients/wire-conversation.ts, by grpc-go.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	annals "example.com/annals-client/gen/annals/v1"
)

type facts map[string]any

var (
	connection *grpc.ClientConn
	client     annals.EventStoreServiceClient
)

func main() {
	var err error
	connection, err = grpc.NewClient(os.Getenv("ANNALS_ADDRESS"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	defer connection.Close()
	client = annals.NewEventStoreServiceClient(connection)
	run("conflict", conflict)
	run("retry", retry)
	run("unknown", unknown)
	run("gzip", compressed)
	run("large", large)
	run("early", early)
	run("pipe", pipe)
	run("turns", turns)
	run("live", live)
	run("deadline", deadline)
	run("metadata", withMetadata)
	run("streams", streams)
	run("restart", restart)
}

func run(step string, do func(context.Context) facts) {
	ctx, stop := context.WithTimeout(context.Background(), 100*time.Second)
	defer stop()
	found := do(ctx)
	found["step"], found["ok"] = step, true
	must(json.NewEncoder(os.Stdout).Encode(found))
}

func must(err error) {
	if err != nil {
		log.Panic(err)
	}
}

func number(name string) int {
	value, err := strconv.Atoi(os.Getenv(name))
	must(err)
	return value
}

func id(number int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", number) }

func request(stream string, first int, sizes ...int) *annals.AppendRequest {
	asked := &annals.AppendRequest{Stream: stream}
	for index, size := range sizes {
		payload := &annals.NewEvent_Data{Data: bytes.Repeat([]byte("a"), size)}
		asked.Events = append(asked.Events, &annals.NewEvent{Id: id(first + index), Type: "T", Payload: payload})
	}
	return asked
}

func expecting(asked *annals.AppendRequest, version uint64) *annals.AppendRequest {
	asked.Expected = &annals.AppendRequest_ExpectedVersion{ExpectedVersion: version}
	return asked
}

func store(ctx context.Context, asked *annals.AppendRequest, options ...grpc.CallOption) *annals.AppendResponse {
	answer, err := client.Append(ctx, asked, options...)
	must(err)
	return answer
}

func conflict(ctx context.Context) facts {
	answer := store(ctx, expecting(request("wire-1", 1, 1), 0))
	_, err := client.Append(ctx, expecting(request("wire-1", 2, 1), 0))
	found := failed(err)
	for _, detail := range status.Convert(err).Details() {
		if conflict, ok := detail.(*annals.AppendConflict); ok {
			found["actual"] = conflict.Streams[0].ActualVersion
		}
	}
	return facts{"position": answer.LastPosition, "conflict": found}
}

func failed(err error) facts {
	found := facts{"code": status.Code(err)}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			found["reason"] = info.Reason
		}
	}
	return found
}

func retry(ctx context.Context) facts {
	answer := store(ctx, expecting(request("wire-1", 1, 1), 0))
	return facts{"position": answer.LastPosition, "deduplicated": answer.Deduplicated}
}

func unknown(ctx context.Context) facts {
	err := connection.Invoke(ctx, "/annals.v1.EventStoreService/Nothing", &annals.GetInfoRequest{}, &annals.GetInfoResponse{})
	return facts{"code": status.Code(err)}
}

func read(ctx context.Context, stream string, options ...grpc.CallOption) []*annals.RecordedEvent {
	asked := &annals.ReadRequest{Selection: &annals.ReadRequest_Stream{Stream: stream}}
	answers, err := client.Read(ctx, asked, options...)
	must(err)
	var events []*annals.RecordedEvent
	for {
		answer, err := answers.Recv()
		if errors.Is(err, io.EOF) {
			return events
		}
		must(err)
		events = append(events, answer.GetBatch().GetEvents()...)
	}
}

func compressed(ctx context.Context) facts {
	answer := store(ctx, request("gzip", 10, 1<<20), grpc.UseCompressor(gzip.Name))
	events := read(ctx, "gzip", grpc.UseCompressor(gzip.Name))
	return facts{"position": answer.LastPosition, "bytes": len(events[0].Data)}
}

func large(ctx context.Context) facts {
	store(ctx, request("large", 20, 3_140_000, 940_000))
	var lengths []int
	for _, event := range read(ctx, "large") {
		lengths = append(lengths, len(event.Data))
	}
	return facts{"lengths": lengths}
}

func early(ctx context.Context) facts {
	_, err := client.Append(ctx, request("early", 30, 9<<20))
	return facts{"code": status.Code(err), "position": store(ctx, request("early", 31, 1)).LastPosition}
}

func codeOf(answer *annals.AppendPipeResponse) int32 { return answer.GetFailure().GetCode() }

func pipe(ctx context.Context) facts {
	calls, err := client.AppendPipe(ctx)
	must(err)
	for index, version := range []uint64{0, 0, 1} {
		must(calls.Send(&annals.AppendPipeRequest{Append: expecting(request("wire-2", 40+index, 1), version)}))
	}
	must(calls.CloseSend())
	var outcomes []int32
	for {
		answer, err := calls.Recv()
		if errors.Is(err, io.EOF) {
			return facts{"codes": outcomes, "end": 0}
		}
		must(err)
		outcomes = append(outcomes, codeOf(answer))
	}
}

func turns(ctx context.Context) facts {
	piping, cancel := context.WithCancel(ctx)
	calls, err := client.AppendPipe(piping)
	must(err)
	answers := 0
	for turn := range 20 {
		must(calls.Send(&annals.AppendPipeRequest{Append: request("wire-2", 50+turn, 1)}))
		_, err := calls.Recv()
		must(err)
		answers++
	}
	cancel()
	_, err = calls.Recv()
	return facts{"answers": answers, "end": status.Code(err)}
}

type following = grpc.ServerStreamingClient[annals.SubscribeResponse]

func follow(ctx context.Context, asked *annals.SubscribeRequest) following {
	messages, err := client.Subscribe(ctx, asked)
	must(err)
	return messages
}

func ofStream(stream string) *annals.SubscribeRequest {
	return &annals.SubscribeRequest{Selection: &annals.SubscribeRequest_Stream{Stream: stream}}
}

func untilCaughtUp(messages following) {
	for {
		message, err := messages.Recv()
		must(err)
		if message.GetCaughtUp() != nil {
			return
		}
	}
}

func nextEvents(messages following) int {
	for {
		message, err := messages.Recv()
		must(err)
		if message.GetBatch() != nil {
			return len(message.GetBatch().Events)
		}
	}
}

func endOf(messages following) error {
	for {
		if _, err := messages.Recv(); err != nil {
			return err
		}
	}
}

func subscribers(ctx context.Context, stream string) uint32 {
	answer, err := client.GetStream(ctx, &annals.GetStreamRequest{Stream: stream})
	must(err)
	return answer.Stream.SubscriberCount
}

// untilForgotten takes it that a proxy ends the connection of a client that cancels much.
func untilForgotten(ctx context.Context, stream string) uint32 {
	for {
		answer, err := client.GetStream(ctx, &annals.GetStreamRequest{Stream: stream})
		if status.Code(err) != codes.Unavailable {
			must(err)
			if answer.Stream.SubscriberCount == 0 {
				return 0
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func live(ctx context.Context) facts {
	open, cancel := context.WithCancel(ctx)
	messages := follow(open, ofStream("wire-3"))
	untilCaughtUp(messages)
	store(ctx, request("wire-3", 80, 1))
	events := nextEvents(messages)
	before := subscribers(ctx, "wire-3")
	cancel()
	end := status.Code(endOf(messages))
	return facts{"live": events, "end": end, "subscribers": []uint32{before, untilForgotten(ctx, "wire-3")}}
}

func deadline(ctx context.Context) facts {
	short, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	return facts{"end": status.Code(endOf(follow(short, ofStream("wire-4"))))}
}

func codeWith(ctx context.Context, fields int) codes.Code {
	for index := range fields {
		ctx = metadata.AppendToOutgoingContext(ctx, fmt.Sprintf("x-%d", index), string(bytes.Repeat([]byte("m"), 1000)))
	}
	_, err := client.GetInfo(ctx, &annals.GetInfoRequest{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return status.Code(err)
}

func withMetadata(ctx context.Context) facts {
	taken := codeWith(ctx, number("WIRE_FIELDS_TAKEN"))
	refused := codeWith(ctx, number("WIRE_FIELDS_REFUSED"))
	return facts{"taken": taken, "refused": refused, "after": codeWith(ctx, 0)}
}

func streams(ctx context.Context) facts {
	open, cancel := context.WithCancel(ctx)
	all := make([]following, number("WIRE_STREAMS"))
	for index := range all {
		all[index] = follow(open, ofStream("wire-5"))
	}
	for _, messages := range all {
		untilCaughtUp(messages)
	}
	store(ctx, request("wire-5", 90, 1))
	events := 0
	for _, messages := range all {
		events += nextEvents(messages)
	}
	cancel()
	return facts{"open": len(all), "live": events, "left": untilForgotten(ctx, "wire-5")}
}

func restart(ctx context.Context) facts {
	messages := follow(ctx, &annals.SubscribeRequest{Start: &annals.SubscribeRequest_FromEnd{}})
	untilCaughtUp(messages)
	isBack := make(chan struct{})
	go func() {
		fmt.Println("RESTART")
		_, _ = os.Stdin.Read(make([]byte, 1))
		close(isBack)
	}()
	others := map[codes.Code]bool{}
	acknowledged := 0
	for after := 0; after < 20; {
		attempt, stop := context.WithTimeout(ctx, 20*time.Second)
		_, err := client.Append(attempt, request("wire-6", 1_000+acknowledged, 1))
		stop()
		if err == nil {
			acknowledged++
			select {
			case <-isBack:
				after++
			default:
			}
			continue
		}
		if status.Code(err) != codes.Unavailable {
			others[status.Code(err)] = true
		}
		time.Sleep(20 * time.Millisecond)
	}
	events := read(ctx, "wire-6")
	isWhole := len(events) == acknowledged
	for index, event := range events {
		isWhole = isWhole && event.Id == id(1_000+index)
	}
	return facts{"end": failed(endOf(messages)), "others": sorted(others), "isWhole": isWhole}
}

func sorted(codes map[codes.Code]bool) []int {
	list := []int{}
	for code := range codes {
		list = append(list, int(code))
	}
	sort.Ints(list)
	return list
}
