// The scripted conversation of test/clients/conversation.ts, by a generated Go client.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"bufio"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	annals "example.com/annals-client/gen/annals/v1"
)

type facts map[string]any

var (
	client annals.EventStoreServiceClient
	output = json.NewEncoder(os.Stdout)
	input  = bufio.NewReader(os.Stdin)
)

// The retry advice that ships with the contract.
const serviceConfig = "proto/annals/v1/annals_grpc_service_config.json"

func main() {
	retries, err := os.ReadFile(serviceConfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	connection, err := grpc.NewClient(os.Getenv("ANNALS_ADDRESS"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(retries)),
		// Reads are several times faster with a window larger than the default 64 KiB.
		grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(8<<20))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer connection.Close()
	client = annals.NewEventStoreServiceClient(connection)

	run("append", appendFirst)
	run("conflict", conflict)
	run("retry", appendFirst)
	run("id_conflict", idConflict)
	run("two_streams", twoStreams)
	run("pipe", pipe)
	run("read_forwards", readForwards)
	run("read_backwards", readBackwards)
	run("query", query)
	run("snapshot", snapshot)
	run("load", load)
	run("subscribe", subscribe)
	run("deadline", deadline)
	run("large", large)
	run("restart", restart)
}

// run does one step within a bounded time and prints what it found.
func run(step string, do func(context.Context) (facts, error)) {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	found, err := do(ctx)
	if err != nil {
		_ = output.Encode(facts{"step": step, "ok": false, "error": err.Error()})
		os.Exit(1)
	}
	found["step"], found["ok"] = step, true
	_ = output.Encode(found)
}

func id(number int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", number) }

func event(number int, eventType string, tags ...string) *annals.NewEvent {
	return &annals.NewEvent{Id: id(number), Type: eventType, Tags: tags}
}

func version(expected uint64) *annals.AppendRequest_ExpectedVersion {
	return &annals.AppendRequest_ExpectedVersion{ExpectedVersion: expected}
}

func firstRequest() *annals.AppendRequest {
	placed := event(1, "OrderPlaced", "customer:c1")
	placed.Metadata = map[string]string{"user": "ada"}
	placed.ContentType = "application/json"
	placed.Payload = &annals.NewEvent_Data{Data: []byte(`{"total":10}`)}
	paid := event(2, "OrderPaid", "customer:c1")
	paid.ContentType = "application/json"
	paid.Payload = &annals.NewEvent_Data{Data: []byte(`{"paid":true}`)}
	return &annals.AppendRequest{
		Stream: "order-1", Expected: version(0), Events: []*annals.NewEvent{placed, paid},
	}
}

func appendFirst(ctx context.Context) (facts, error) {
	answer, err := client.Append(ctx, firstRequest())
	if err != nil {
		return nil, err
	}
	return appended(answer), nil
}

func appended(answer *annals.AppendResponse) facts {
	versions := facts{}
	for _, stream := range answer.Streams {
		versions[stream.Stream] = []uint64{stream.FirstVersion, stream.LastVersion}
	}
	return facts{
		"positions":    []uint64{answer.FirstPosition, answer.LastPosition},
		"versions":     versions,
		"deduplicated": answer.Deduplicated,
	}
}

// failed describes an error as the contract types it: the code, ErrorInfo, then the details.
func failed(err error) (facts, error) {
	refusal, ok := status.FromError(err)
	if !ok || refusal.Code() == codes.OK {
		return nil, fmt.Errorf("expected a status, got %v", err)
	}
	found := facts{"code": int(refusal.Code())}
	for _, detail := range refusal.Details() {
		describe(found, detail)
	}
	return found, nil
}

func describe(found facts, detail any) {
	switch detail := detail.(type) {
	case *errdetails.ErrorInfo:
		found["domain"], found["reason"] = detail.Domain, detail.Reason
	case *annals.AppendConflict:
		actual := facts{}
		for _, stream := range detail.Streams {
			actual[stream.Stream] = stream.ActualVersion
		}
		found["actual_versions"] = actual
		if len(detail.Conditions) > 0 {
			found["condition_position"] = detail.Conditions[0].Position
		}
	case *annals.EventIdConflict:
		found["id_positions"] = []uint64{detail.Events[0].Position}
		found["problem"] = detail.Events[0].Problem.String()
	}
}

func conflict(ctx context.Context) (facts, error) {
	_, err := client.Append(ctx, &annals.AppendRequest{
		Stream:   "order-1",
		Expected: version(0),
		Events:   []*annals.NewEvent{event(3, "OrderPlaced")},
		Expectations: []*annals.StreamExpectation{{
			Stream: "order-9",
			Expected: &annals.StreamExpectation_ExpectedState{
				ExpectedState: annals.StreamState_STREAM_STATE_EXISTS,
			},
		}},
		Conditions: []*annals.AppendCondition{{Query: placedByFirstCustomer()}},
	})
	return failed(err)
}

func placedByFirstCustomer() *annals.Query {
	return &annals.Query{Items: []*annals.QueryItem{
		{Types: []string{"OrderPlaced"}, Tags: []string{"customer:c1"}},
	}}
}

func idConflict(ctx context.Context) (facts, error) {
	other := event(1, "OrderPlaced", "customer:c1")
	other.Payload = &annals.NewEvent_Data{Data: []byte("something else")}
	_, err := client.Append(ctx, &annals.AppendRequest{
		Stream: "order-1", Events: []*annals.NewEvent{other},
	})
	return failed(err)
}

func twoStreams(ctx context.Context) (facts, error) {
	shipped := event(5, "OrderShipped", "customer:c1")
	shipped.Stream = "order-1"
	answer, err := client.Append(ctx, &annals.AppendRequest{
		Stream:   "order-2",
		Expected: &annals.AppendRequest_ExpectedState{ExpectedState: annals.StreamState_STREAM_STATE_ABSENT},
		Events:   []*annals.NewEvent{event(4, "OrderPlaced", "customer:c2"), shipped},
		Expectations: []*annals.StreamExpectation{{
			Stream: "order-1", Expected: &annals.StreamExpectation_ExpectedVersion{ExpectedVersion: 2},
		}},
	})
	if err != nil {
		return nil, err
	}
	return appended(answer), nil
}

func pipe(ctx context.Context) (facts, error) {
	calls, err := client.AppendPipe(ctx)
	if err != nil {
		return nil, err
	}
	for _, append := range []struct {
		number   int
		expected uint64
	}{{6, 0}, {7, 0}, {8, 1}} {
		if err := calls.Send(&annals.AppendPipeRequest{Append: &annals.AppendRequest{
			Stream: "pipe-1", Expected: version(append.expected),
			Events: []*annals.NewEvent{event(append.number, "Piped")},
		}}); err != nil {
			return nil, err
		}
	}
	if err := calls.CloseSend(); err != nil {
		return nil, err
	}
	var outcomes []facts
	for {
		answer, err := calls.Recv()
		if errors.Is(err, io.EOF) {
			return facts{"outcomes": outcomes}, nil
		}
		if err != nil {
			return nil, err
		}
		outcome, err := outcomeOf(answer)
		if err != nil {
			return nil, err
		}
		outcome["sequence"] = answer.Sequence
		outcomes = append(outcomes, outcome)
	}
}

func outcomeOf(answer *annals.AppendPipeResponse) (facts, error) {
	if answer.GetAppended() != nil {
		return facts{"position": answer.GetAppended().LastPosition}, nil
	}
	outcome := facts{"code": answer.GetFailure().Code}
	for _, packed := range answer.GetFailure().Details {
		detail, err := anypb.UnmarshalNew(packed, proto.UnmarshalOptions{})
		if err != nil {
			return nil, err
		}
		describe(outcome, detail)
	}
	return outcome, nil
}

// readAll reads to the end; a call that ends without a ReadEnd was cut off.
func readAll(ctx context.Context, request *annals.ReadRequest) ([]*annals.RecordedEvent, *annals.ReadEnd, error) {
	answers, err := client.Read(ctx, request)
	if err != nil {
		return nil, nil, err
	}
	var events []*annals.RecordedEvent
	var end *annals.ReadEnd
	for {
		answer, err := answers.Recv()
		if errors.Is(err, io.EOF) && end != nil {
			return events, end, nil
		}
		if err != nil {
			return nil, nil, err
		}
		events = append(events, answer.GetBatch().GetEvents()...)
		end = answer.GetEnd()
	}
}

func positionsOf(events []*annals.RecordedEvent) []uint64 {
	positions := make([]uint64, 0)
	for _, event := range events {
		positions = append(positions, event.Position)
	}
	return positions
}

func versionsOf(events []*annals.RecordedEvent) []uint64 {
	versions := make([]uint64, 0)
	for _, event := range events {
		versions = append(versions, event.Version)
	}
	return versions
}

func readForwards(ctx context.Context) (facts, error) {
	events, end, err := readAll(ctx, &annals.ReadRequest{
		Selection: &annals.ReadRequest_Stream{Stream: "order-1"},
	})
	if err != nil {
		return nil, err
	}
	types := make([]string, 0)
	for _, event := range events {
		types = append(types, event.Type)
	}
	first := events[0]
	return facts{
		"versions": versionsOf(events), "types": types,
		"id": first.Id, "data": string(first.Data), "user": first.Metadata["user"],
		"content_type": first.ContentType, "tags": first.Tags,
		"recorded": first.RecordedAt.AsTime().Year() > 2000,
		"end":      []uint64{end.Head, end.After, end.EventCount, end.StreamVersion},
	}, nil
}

func readBackwards(ctx context.Context) (facts, error) {
	events, end, err := readAll(ctx, &annals.ReadRequest{
		Direction: annals.Direction_DIRECTION_BACKWARDS, Limit: 3,
	})
	if err != nil {
		return nil, err
	}
	return facts{"positions": positionsOf(events), "head": end.Head}, nil
}

func query(ctx context.Context) (facts, error) {
	wanted := placedByFirstCustomer()
	wanted.Items = append(wanted.Items, &annals.QueryItem{Streams: []string{"order-2"}})
	events, end, err := readAll(ctx, &annals.ReadRequest{
		Selection: &annals.ReadRequest_Query{Query: wanted},
	})
	if err != nil {
		return nil, err
	}
	return facts{"positions": positionsOf(events), "after": end.After}, nil
}

func snapshot(ctx context.Context) (facts, error) {
	save := &annals.SaveSnapshotRequest{
		Stream: "order-1", Version: 2, ContentType: "application/json",
		State: &annals.SaveSnapshotRequest_Data{Data: []byte(`{"status":"paid"}`)},
	}
	saved, err := client.SaveSnapshot(ctx, save)
	if err != nil {
		return nil, err
	}
	got, err := client.GetSnapshot(ctx, &annals.GetSnapshotRequest{Stream: "order-1"})
	if err != nil {
		return nil, err
	}
	save.Version = 99
	_, err = client.SaveSnapshot(ctx, save)
	beyond, err := failed(err)
	if err != nil {
		return nil, err
	}
	_, err = client.GetSnapshot(ctx, &annals.GetSnapshotRequest{Stream: "order-2"})
	missing, err := failed(err)
	if err != nil {
		return nil, err
	}
	return facts{
		"position": saved.Position, "version": got.Snapshot.Version,
		"data": string(got.Snapshot.GetData()), "beyond": beyond, "missing": missing,
	}, nil
}

func load(ctx context.Context) (facts, error) {
	answers, err := client.Load(ctx, &annals.LoadRequest{Stream: "order-1"})
	if err != nil {
		return nil, err
	}
	found := facts{}
	var events []*annals.RecordedEvent
	for {
		answer, err := answers.Recv()
		if errors.Is(err, io.EOF) {
			found["versions"] = versionsOf(events)
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		switch message := answer.Message.(type) {
		case *annals.LoadResponse_Snapshot:
			found["snapshot_version"] = message.Snapshot.Version
		case *annals.LoadResponse_Batch:
			events = append(events, message.Batch.Events...)
		case *annals.LoadResponse_End:
			found["version"], found["head"] = message.End.Version, message.End.Head
		}
	}
}

type subscription = grpc.ServerStreamingClient[annals.SubscribeResponse]

// untilCaughtUp returns the events before the next caught_up and its position.
func untilCaughtUp(messages subscription) ([]*annals.RecordedEvent, uint64, error) {
	var events []*annals.RecordedEvent
	for {
		message, err := messages.Recv()
		if err != nil {
			return nil, 0, err
		}
		events = append(events, message.GetBatch().GetEvents()...)
		if caughtUp := message.GetCaughtUp(); caughtUp != nil {
			return events, caughtUp.Position, nil
		}
	}
}

// nextEvents waits for the next batch, whatever else comes before it.
func nextEvents(messages subscription) ([]*annals.RecordedEvent, error) {
	for {
		message, err := messages.Recv()
		if err != nil {
			return nil, err
		}
		if batch := message.GetBatch(); batch != nil {
			return batch.Events, nil
		}
	}
}

// endOf reads on until the subscription ends, and says how.
func endOf(messages subscription) (facts, error) {
	for {
		if _, err := messages.Recv(); err != nil {
			return failed(err)
		}
	}
}

func subscribe(ctx context.Context) (facts, error) {
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, err := client.Subscribe(following, &annals.SubscribeRequest{
		Selection: &annals.SubscribeRequest_Stream{Stream: "order-1"},
	})
	if err != nil {
		return nil, err
	}
	history, caughtUp, err := untilCaughtUp(messages)
	if err != nil {
		return nil, err
	}
	if _, err := client.Append(ctx, &annals.AppendRequest{
		Stream: "order-1", Expected: version(3), Events: []*annals.NewEvent{event(9, "OrderClosed")},
	}); err != nil {
		return nil, err
	}
	live, err := nextEvents(messages)
	if err != nil {
		return nil, err
	}
	before, err := subscribers(ctx)
	if err != nil {
		return nil, err
	}
	cancel()
	ended, err := endOf(messages)
	if err != nil {
		return nil, err
	}
	after := before
	for after != 0 {
		if after, err = subscribers(ctx); err != nil {
			return nil, err
		}
	}
	return facts{
		"history": versionsOf(history), "caught_up": caughtUp, "live": positionsOf(live),
		"code": ended["code"], "subscribers": []uint32{before, after},
	}, nil
}

func subscribers(ctx context.Context) (uint32, error) {
	answer, err := client.GetStream(ctx, &annals.GetStreamRequest{Stream: "order-1"})
	return answer.GetStream().GetSubscriberCount(), err
}

func deadline(ctx context.Context) (facts, error) {
	short, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	messages, err := client.Subscribe(short, &annals.SubscribeRequest{
		Selection: &annals.SubscribeRequest_Stream{Stream: "empty-1"},
	})
	if err != nil {
		return nil, err
	}
	_, caughtUp, err := untilCaughtUp(messages)
	if err != nil {
		return nil, err
	}
	ended, err := endOf(messages)
	if err != nil {
		return nil, err
	}
	return facts{"caught_up": caughtUp, "code": ended["code"]}, nil
}

func large(ctx context.Context) (facts, error) {
	data := make([]byte, 2<<20)
	for index := range data {
		data[index] = byte(index % 251)
	}
	big := event(10, "Scanned")
	big.Payload = &annals.NewEvent_Data{Data: data}
	answer, err := client.Append(ctx, &annals.AppendRequest{
		Stream: "large-1", Events: []*annals.NewEvent{big},
	})
	if err != nil {
		return nil, err
	}
	events, _, err := readAll(ctx, &annals.ReadRequest{
		Selection: &annals.ReadRequest_Stream{Stream: "large-1"},
	})
	if err != nil {
		return nil, err
	}
	return facts{
		"position": answer.LastPosition, "bytes": len(events[0].Data),
		"equal": string(events[0].Data) == string(data),
	}, nil
}

func restart(ctx context.Context) (facts, error) {
	everything := &annals.SubscribeRequest{
		Start: &annals.SubscribeRequest_AfterPosition{AfterPosition: 7},
	}
	messages, err := client.Subscribe(ctx, everything)
	if err != nil {
		return nil, err
	}
	seen, position, err := untilCaughtUp(messages)
	if err != nil {
		return nil, err
	}
	fmt.Println("RESTART")
	ended, err := endOf(messages)
	if err != nil {
		return nil, err
	}
	if _, err := input.ReadString('\n'); err != nil {
		return nil, err
	}
	// The channel reconnects by itself; what is called before it has is retried.
	retried, err := client.Append(ctx, firstRequest())
	if err != nil {
		return nil, err
	}
	if err := appendRestarted(ctx, 11); err != nil {
		return nil, err
	}
	everything.Start = &annals.SubscribeRequest_AfterPosition{AfterPosition: position}
	if messages, err = client.Subscribe(ctx, everything); err != nil {
		return nil, err
	}
	resumed, _, err := untilCaughtUp(messages)
	if err != nil {
		return nil, err
	}
	if err := appendRestarted(ctx, 12); err != nil {
		return nil, err
	}
	live, err := nextEvents(messages)
	if err != nil {
		return nil, err
	}
	return facts{
		"seen": positionsOf(seen), "ended": ended, "retried": appended(retried),
		"resumed": positionsOf(append(resumed, live...)),
	}, nil
}

func appendRestarted(ctx context.Context, number int) error {
	_, err := client.Append(ctx, &annals.AppendRequest{
		Stream: "order-2", Events: []*annals.NewEvent{event(number, "OrderReopened")},
	})
	return err
}
