// Parses answers as parsed-alike.test.ts asks: prints each event in a form that all languages share.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	annals "example.com/annals-client/gen/annals/v1"
)

func text(value string) string { return hex.EncodeToString([]byte(value)) }

func joined(parts []string) string {
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func valueOf(value *structpb.Value) string {
	switch kind := value.GetKind().(type) {
	case *structpb.Value_NullValue:
		return "z"
	case *structpb.Value_NumberValue:
		return fmt.Sprintf("n%016x", math.Float64bits(kind.NumberValue))
	case *structpb.Value_StringValue:
		return "s" + text(kind.StringValue)
	case *structpb.Value_BoolValue:
		if kind.BoolValue {
			return "b1"
		}
		return "b0"
	case *structpb.Value_ListValue:
		parts := []string{}
		for _, each := range kind.ListValue.Values {
			parts = append(parts, valueOf(each))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case *structpb.Value_StructValue:
		parts := []string{}
		for key, each := range kind.StructValue.Fields {
			parts = append(parts, text(key)+":"+valueOf(each))
		}
		return "{" + joined(parts) + "}"
	}
	return "-"
}

func eventOf(event *annals.RecordedEvent) string {
	tags := []string{}
	for _, tag := range event.Tags {
		tags = append(tags, text(tag))
	}
	metadata := []string{}
	for key, value := range event.Metadata {
		metadata = append(metadata, text(key)+"="+text(value))
	}
	json := ""
	if event.Json != nil {
		json = valueOf(event.Json)
	}
	return strings.Join([]string{
		text(event.Id), text(event.Stream), text(event.Type), strings.Join(tags, ","), joined(metadata),
		text(event.ContentType), hex.EncodeToString(event.Data), json,
		fmt.Sprint(event.Version), fmt.Sprint(event.Position),
		fmt.Sprintf("%d.%d", event.RecordedAt.GetSeconds(), event.RecordedAt.GetNanos()),
	}, "|")
}

func main() {
	source := bufio.NewReader(os.Stdin)
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()
	header := make([]byte, 4)
	for {
		if _, err := io.ReadFull(source, header); err != nil {
			return
		}
		bytes := make([]byte, binary.BigEndian.Uint32(header))
		if _, err := io.ReadFull(source, bytes); err != nil {
			panic(err)
		}
		message := &annals.ReadResponse{}
		if err := proto.Unmarshal(bytes, message); err != nil {
			fmt.Fprintf(output, "refused: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		events := []string{}
		for _, event := range message.GetBatch().GetEvents() {
			events = append(events, eventOf(event))
		}
		fmt.Fprintln(output, strings.Join(events, ";"))
	}
}
