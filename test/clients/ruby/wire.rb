# The conversation of test/clients/wire-conversation.ts, by the grpc gem.
require 'json'
require 'set'

$LOAD_PATH.unshift('gen')
require 'grpc'
require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'google/rpc/status_pb'
require 'annals/v1/event_store_service_services_pb'
require 'annals/v1/errors_pb'

include Annals::V1

STEP_SECONDS = 100
ADDRESS = ENV.fetch('ANNALS_ADDRESS')
CLIENT = EventStoreService::Stub.new(ADDRESS, :this_channel_is_insecure)
GZIP = { 'grpc-internal-encoding-request' => 'gzip' }.freeze

def within(seconds = STEP_SECONDS) = Time.now + seconds

def number(name) = Integer(ENV.fetch(name))

def id(number) = format('00000000-0000-4000-8000-%012d', number)

def request(stream, first, *sizes, **more)
  events = sizes.each_with_index.map do |size, index|
    NewEvent.new(id: id(first + index), type: 'T', data: 'a' * size)
  end
  AppendRequest.new(stream: stream, events: events, **more)
end

def store(asked, seconds: STEP_SECONDS, **more) = CLIENT.append(asked, deadline: within(seconds), **more)

def failure
  yield
  raise 'expected a failure'
rescue GRPC::BadStatus => e
  e
end

def typed(error)
  found = { code: error.code }
  details = error.metadata['grpc-status-details-bin']
  status = Google::Rpc::Status.decode(details || '')
  status.details.each do |detail|
    found[:reason] = detail.unpack(Google::Rpc::ErrorInfo).reason if detail.is(Google::Rpc::ErrorInfo)
    found[:actual] = detail.unpack(AppendConflict).streams[0].actual_version if detail.is(AppendConflict)
  end
  found
end

def read(stream, **more)
  CLIENT.read(ReadRequest.new(stream: stream), deadline: within, **more).flat_map do |answer|
    answer.batch ? answer.batch.events.to_a : []
  end
end

# Answers of a call and a way to cancel it.
class Following
  def initialize(seconds: STEP_SECONDS, **asked)
    options = { deadline: within(seconds), return_op: true }
    @call = CLIENT.subscribe(SubscribeRequest.new(**asked), **options)
    @messages = @call.execute
  end

  def until_caught_up
    nil until @messages.next.caught_up
    self
  end

  def next_events
    loop do
      message = @messages.next
      return message.batch.events.size if message.batch
    end
  end

  def end
    failure { loop { @messages.next } }
  end

  def cancel
    @call.cancel
    self.end
  end
end

def subscribers(stream)
  CLIENT.get_stream(GetStreamRequest.new(stream: stream), deadline: within).stream.subscriber_count
end

def until_forgotten(stream)
  sleep 0.01 until subscribers(stream).zero?
  0
end

STEPS = {
  conflict: lambda do
    answer = store(request('wire-1', 1, 1, expected_version: 0))
    error = failure { store(request('wire-1', 2, 1, expected_version: 0)) }
    { position: answer.last_position, conflict: typed(error) }
  end,
  retry: lambda do
    answer = store(request('wire-1', 1, 1, expected_version: 0))
    { position: answer.last_position, deduplicated: answer.deduplicated }
  end,
  unknown: lambda do
    client = GRPC::ClientStub.new(ADDRESS, :this_channel_is_insecure)
    path = '/annals.v1.EventStoreService/Nothing'
    same = ->(bytes) { bytes }
    { code: failure { client.request_response(path, '', same, same, deadline: within) }.code }
  end,
  gzip: lambda do
    answer = store(request('gzip', 10, 1 << 20), metadata: GZIP)
    { position: answer.last_position, bytes: read('gzip', metadata: GZIP)[0].data.bytesize }
  end,
  large: lambda do
    store(request('large', 20, 3_140_000, 940_000))
    { lengths: read('large').map { |event| event.data.bytesize } }
  end,
  early: lambda do
    error = failure { store(request('early', 30, 9 << 20)) }
    { code: error.code, position: store(request('early', 31, 1)).last_position }
  end,
  pipe: lambda do
    asked = [0, 0, 1].each_with_index.map do |version, index|
      AppendPipeRequest.new(append: request('wire-2', 40 + index, 1, expected_version: version))
    end
    answers = CLIENT.append_pipe(asked, deadline: within)
    { codes: answers.map { |answer| answer.failure ? answer.failure.code : 0 }, end: 0 }
  end,
  turns: lambda do
    queue = Queue.new
    call = CLIENT.append_pipe(Enumerator.new { |sent| loop { sent << queue.pop } }, deadline: within, return_op: true)
    answers = call.execute
    count = 0
    20.times do |turn|
      queue << AppendPipeRequest.new(append: request('wire-2', 50 + turn, 1))
      count += 1 if answers.next
    end
    call.cancel
    { answers: count, end: failure { answers.next }.code }
  end,
  live: lambda do
    following = Following.new(stream: 'wire-3').until_caught_up
    store(request('wire-3', 80, 1))
    events = following.next_events
    before = subscribers('wire-3')
    code = following.cancel.code
    { live: events, end: code, subscribers: [before, until_forgotten('wire-3')] }
  end,
  deadline: -> { { end: Following.new(stream: 'wire-4', seconds: 1).end.code } },
  metadata: lambda do
    code_with = lambda do |fields|
      metadata = (0...fields).to_h { |index| ["x-#{index}", 'm' * 1_000] }
      CLIENT.get_info(GetInfoRequest.new, deadline: within, metadata: metadata)
      0
    rescue GRPC::BadStatus => e
      warn e.message
      e.code
    end
    taken = code_with.call(number('WIRE_FIELDS_TAKEN'))
    refused = code_with.call(number('WIRE_FIELDS_REFUSED'))
    { taken: taken, refused: refused, after: code_with.call(0) }
  end,
  streams: lambda do
    all = Array.new(number('WIRE_STREAMS')) { Following.new(stream: 'wire-5') }
    all.each(&:until_caught_up)
    store(request('wire-5', 90, 1))
    events = all.sum(&:next_events)
    all.each(&:cancel)
    { open: all.size, live: events, left: until_forgotten('wire-5') }
  end,
  restart: lambda do
    following = Following.new(from_end: Google::Protobuf::Empty.new).until_caught_up
    puts 'RESTART'
    back = Thread.new { $stdin.gets }
    others = Set.new
    acknowledged = after = 0
    while after < 20
      begin
        store(request('wire-6', 1_000 + acknowledged, 1), seconds: 20)
        acknowledged += 1
        after += 1 unless back.alive?
      rescue GRPC::BadStatus => e
        others << e.code unless e.code == 14
        sleep 0.02
      end
    end
    ids = read('wire-6').map(&:id)
    whole = ids == Array.new(acknowledged) { |index| id(1_000 + index) }
    { end: typed(following.end), others: others.to_a.sort, isWhole: whole }
  end
}.freeze

$stdout.sync = true
STEPS.each { |step, run| puts JSON.generate({ step: step, ok: true, **run.call }) }
