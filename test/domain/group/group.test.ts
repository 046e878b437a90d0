// The core of consumer groups: each rule by example, and generated histories.
import { describe, expect, test } from "vitest";
import { Group } from "../../../src/domain/group/group.ts";
import { loadProgress } from "../../../src/domain/group/progress-codec.ts";
import { progressFrom } from "../../../src/domain/group/progress.ts";
import {
  keyOf,
  retryDelayOf,
  type GroupOrdering,
  type GroupSettings,
} from "../../../src/domain/group/settings.ts";
import type { Delivery } from "../../../src/domain/group/state.ts";
import { assertHistories, kindsOfHistory } from "./histories.ts";

const settings: GroupSettings = {
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 1_000,
  attemptsMax: 3,
  retryDelayMs: 100,
  retryDelayMaxMs: 1_000,
  inFlightMax: 1_000,
};

/** A group over a log of streams: `ab` is an event of stream a, then one of b. */
class Play {
  readonly group: Group;
  now = 0;
  private readonly log: string;

  constructor(log: string, changes: Partial<GroupSettings> = {}) {
    this.log = log;
    this.group = new Group({ ...settings, ...changes }, progressFrom(0));
    this.feed();
  }

  /** Offers as much as it wants. */
  feed(): void {
    while (this.group.wantsEvents && this.group.through < this.log.length) {
      this.group.offer(this.event(this.group.through + 1), this.now);
    }
  }

  event(position: number) {
    const stream = this.log[position - 1] ?? "";
    return { id: `${position}`, stream, type: "T", tags: [], position };
  }

  /** Reads of a log of one stream what is to be read again. */
  readAgain(): void {
    for (let next = this.group.nextReading(); next !== undefined; next = this.group.nextReading()) {
      const { after, countMax } = next;
      const found = Array.from({ length: countMax }, (_, i) => this.event(after + 1 + i));
      this.group.readMore(next, found, after + countMax, this.now);
    }
  }

  join(id: number, permits: number): this {
    this.group.join(id, permits);
    this.feed();
    return this;
  }

  deliver(): Delivery[] {
    this.feed();
    const given = this.group.deliver(this.now);
    for (const delivery of given) this.group.sent(delivery);
    return given;
  }

  /** In short: `member:position` of each, with the attempt where it is not the first. */
  delivered(): string[] {
    return this.deliver().map(({ member, event, attempt }) => {
      return `${member.id}:${event.position}${attempt > 1 ? ` #${attempt}` : ""}`;
    });
  }

  pass(ms: number): void {
    this.now += ms;
    this.group.tick(this.now);
  }

  /** Makes everything durable; answers the tokens that are settled. */
  write(): number[] {
    this.group.takeWrite();
    return [...this.group.written().values()].flat();
  }
}

describe("deliveries", () => {
  test("of one key follow one another, each only when the one before is settled", () => {
    const play = new Play("aaba").join(1, 10);
    const [a1, b3] = play.deliver();
    expect([a1?.event.position, b3?.event.position]).toEqual([1, 3]);
    expect(play.delivered()).toEqual([]);
    play.group.ack(1, [b3?.token ?? 0], play.now);
    expect(play.delivered()).toEqual([]);
    play.group.ack(1, [a1?.token ?? 0], play.now);
    expect(play.delivered()).toEqual(["1:2"]);
  });

  test("go round among the members, as far as their permits go", () => {
    const play = new Play("abcdefgh").join(1, 2).join(2, 1).join(3, 4);
    expect(play.delivered()).toEqual(["1:1", "2:2", "3:3", "1:4", "3:5", "3:6", "3:7"]);
    play.group.permit(2, 1);
    expect(play.delivered()).toEqual(["2:8"]);
  });

  test("give their permit back when they are durably settled, not before", () => {
    const play = new Play("abc").join(1, 1);
    const [first] = play.deliver();
    play.group.ack(1, [first?.token ?? 0], play.now);
    expect(play.delivered()).toEqual([]);
    expect(play.write()).toEqual([first?.token]);
    expect(play.delivered()).toEqual(["1:2"]);
  });

  test("are at most as many as the group allows at a time", () => {
    const play = new Play("abcdef", { inFlightMax: 2 }).join(1, 10);
    const [first] = play.deliver();
    expect(play.group.inFlightCount).toBe(2);
    play.group.ack(1, [first?.token ?? 0], play.now);
    expect(play.delivered()).toEqual([]);
    play.write();
    expect(play.delivered()).toEqual(["1:3"]);
  });

  test("a member that takes nothing off our hands is given no more than a few", () => {
    const play = new Play("abcdefghij").join(1, 1_000);
    const given = play.group.deliver(play.now);
    expect(given).toHaveLength(10);
    const many = new Group({ ...settings, ordering: { kind: "none" } }, progressFrom(0));
    many.join(1, 1_000);
    for (let position = 1; many.wantsEvents && position <= 1_000; position++) {
      many.offer({ id: "", stream: "s", type: "T", tags: [], position }, 0);
    }
    const unsent = many.deliver(0);
    expect(unsent).toHaveLength(64);
    for (const delivery of unsent.slice(0, 10)) many.sent(delivery);
    expect(many.deliver(0)).toHaveLength(10);
  });
});

describe("tokens", () => {
  test("of another member, settled ones and unknown ones are refused", () => {
    const play = new Play("ab").join(1, 1).join(2, 1);
    const [first, second] = play.deliver();
    const [one, two] = [first?.token ?? 0, second?.token ?? 0];
    expect(play.group.ack(2, [one, two, 99], play.now).refused).toEqual([one, 99]);
    expect(play.group.ack(2, [two], play.now).refused).toEqual([]);
    play.write();
    expect(play.group.ack(2, [two], play.now).refused).toEqual([two]);
  });

  test("acknowledged up to one are those the same member was given before it", () => {
    const play = new Play("abcde").join(1, 3).join(2, 2);
    const [, second, third, , fifth] = play.deliver().map(({ token }) => token);
    expect(play.group.ackThrough(1, third ?? 0, play.now).refused).toEqual([]);
    play.write();
    expect(play.group.position).toBe(1);
    expect(play.group.ackThrough(2, fifth ?? 0, play.now).refused).toEqual([fifth]);
    play.write();
    expect(play.group.position).toBe(1);
    expect(play.group.ackThrough(2, second ?? 0, play.now).refused).toEqual([]);
    play.write();
    expect(play.group.position).toBe(3);
    expect(play.group.ackThrough(2, second ?? 0, play.now).refused).toEqual([second]);
  });
});

describe("leases", () => {
  test("run out: the event goes to another member, and the late word does not count", () => {
    const play = new Play("aa").join(1, 1);
    const [first] = play.deliver();
    play.pass(999);
    expect(play.delivered()).toEqual([]);
    play.pass(1);
    play.join(2, 1);
    expect(play.delivered()).toEqual(["2:1 #2"]);
    expect(play.group.ack(1, [first?.token ?? 0], play.now).refused).toEqual([first?.token]);
  });

  test("a member that let one run out gets nothing in its place until it is heard of", () => {
    const play = new Play("abc").join(1, 1);
    play.deliver();
    play.pass(1_000);
    expect(play.delivered()).toEqual([]);
    play.group.heard(1);
    expect(play.delivered()).toEqual(["1:2"]);
  });

  test("are extended, and shortened", () => {
    const play = new Play("ab").join(1, 2);
    const [first, second] = play.deliver();
    play.group.extend(1, [first?.token ?? 0], 5_000, play.now);
    play.group.extend(1, [second?.token ?? 0], 10, play.now);
    expect(play.group.dueAtMs).toBe(10);
    play.pass(10);
    play.group.heard(1);
    expect(play.delivered()).toEqual(["1:2 #2"]);
    play.pass(4_989);
    expect(play.group.oldestInFlight).toBe(1);
    play.pass(1);
    play.group.heard(1);
    expect(play.delivered()).toContain("1:1 #2");
  });

  test("that are extended a thousand times leave nothing behind", () => {
    const play = new Play("a").join(1, 1);
    const [first] = play.deliver();
    for (let i = 0; i < 1_000; i++) {
      play.group.extend(1, [first?.token ?? 0], i % 2 === 0 ? 50_000 : 40_000, play.now);
    }
    play.group.ack(1, [first?.token ?? 0], play.now);
    play.write();
    play.deliver();
    play.pass(60_000);
    expect(play.group.dueAtMs).toBeUndefined();
  });
});

describe("events that fail", () => {
  test("come again after their delay, which doubles, and hold back only their own key", () => {
    const play = new Play("aab").join(1, 5);
    const [a1] = play.deliver();
    play.group.nack(1, [a1?.token ?? 0], { delayMs: undefined, reason: "" }, play.now);
    play.write();
    expect(play.delivered()).toEqual([]);
    expect(play.group.dueAtMs).toBe(100);
    play.pass(100);
    const [again] = play.deliver();
    expect([again?.event.position, again?.attempt]).toEqual([1, 2]);
    play.group.nack(1, [again?.token ?? 0], { delayMs: undefined, reason: "" }, play.now);
    expect(play.group.dueAtMs).toBe(300);
    expect([1, 2, 3, 4, 5, 40].map((failures) => retryDelayOf(settings, failures))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ]);
  });

  test("too often are parked with their reason, and the key goes on", () => {
    const play = new Play("aba").join(1, 5);
    for (let attempt = 1; attempt <= 3; attempt++) {
      const a1 = play.deliver().find(({ event }) => event.position === 1);
      expect(a1?.attempt).toBe(attempt);
      const why = { delayMs: 0, reason: `no ${attempt}` };
      play.group.nack(1, [a1?.token ?? 0], why, play.now);
    }
    expect(play.delivered()).toEqual(["1:3"]);
    const { parked } = play.group.takeWrite();
    expect(parked).toEqual([{ position: 1, attempts: 3, reason: "no 3" }]);
    play.group.written();
  });

  test("with the member that never got them are no attempts", () => {
    const play = new Play("a").join(1, 1);
    play.feed();
    const [unsent] = play.group.deliver(play.now);
    play.pass(1_000);
    play.join(2, 1);
    expect(play.delivered()).toEqual(["2:1"]);
    expect(unsent && play.group.sent(unsent)).toBe(false);
  });

  test("of a member that gives them back unlooked at are no attempts, and go to others", () => {
    const play = new Play("ab").join(1, 2);
    const tokens = play.deliver().map(({ token }) => token);
    expect(play.group.release(1, [...tokens, 99], play.now).refused).toEqual([99]);
    expect(play.delivered()).toEqual([]);
    play.join(2, 2);
    expect(play.delivered()).toEqual(["2:1", "2:2"]);
  });

  test("with the member that held them come again at once", () => {
    const play = new Play("ab").join(1, 2).join(2, 5);
    play.deliver();
    play.group.leave(1, play.now);
    expect(play.delivered()).toEqual(["2:1 #2"]);
    expect(play.group.memberCount).toBe(1);
  });

  test("are parked by their members too, replayed and discarded", () => {
    const play = new Play("aa").join(1, 1);
    const [first] = play.deliver();
    play.group.park(1, [first?.token ?? 0], "later", play.now);
    const { parked } = play.group.takeWrite();
    expect(parked).toEqual([{ position: 1, attempts: 1, reason: "later" }]);
    play.group.written();
    play.group.replay(play.event(1), play.now);
    expect(play.group.takeWrite().unparked).toEqual([1]);
    play.group.written();
    expect(play.delivered()).toEqual(["1:1"]);
    expect(play.group.position).toBe(1);
    play.group.discard(7);
    expect(play.group.takeWrite().unparked).toEqual([7]);
  });
});

describe("keys", () => {
  const words = { stream: "order-7-x", tags: ["t", "customer:9", "customer:10"] };
  test.each<[GroupOrdering, string]>([
    [{ kind: "stream" }, "order-7-x"],
    [{ kind: "category" }, "order"],
    [{ kind: "tag", prefix: "customer:" }, "customer:9"],
    [{ kind: "tag", prefix: "nobody:" }, ""],
    [{ kind: "none" }, "42"],
  ])("by %o", (ordering, key) => {
    expect(keyOf(words, 42, ordering)).toBe(key);
  });

  test("a key that is far behind costs a few positions, and is read again when it goes on", () => {
    const log = `${"a".repeat(5_000)}b`;
    const play = new Play(log).join(1, 2);
    expect(play.delivered()).toEqual(["1:1", "1:5001"]);
    expect(play.group.unsettledCount).toBe(5_001);
    let expected = 1;
    const done = new Set<number>();
    while (done.size < 200) {
      for (let token = 1; token <= 400; token++) {
        if (play.group.ack(1, [token], play.now).refused.length === 0) done.add(token);
      }
      play.write();
      play.readAgain();
      for (const { event } of play.deliver()) {
        if (event.position !== 5_001) expect(event.position).toBe(++expected);
      }
    }
    expect(play.group.position).toBeGreaterThan(190);
  });
});

describe("the position", () => {
  test("waits for the slowest key, and for the disk", () => {
    const play = new Play("abc").join(1, 3);
    const [a, b, c] = play.deliver().map(({ token }) => token);
    play.group.ack(1, [b ?? 0, c ?? 0], play.now);
    play.write();
    expect(play.group.position).toBe(0);
    play.group.ack(1, [a ?? 0], play.now);
    expect(play.group.position).toBe(0);
    play.group.takeWrite();
    expect(play.group.position).toBe(0);
    play.group.written();
    expect(play.group.position).toBe(3);
  });

  test("follows the log where nothing matches", () => {
    const play = new Play("");
    play.group.pass(1_000);
    expect(play.group.position).toBe(1_000);
    expect(play.group.unwrittenCount).toBe(1_000);
  });
});

describe("an edit of the query", () => {
  const types = (...names: string[]) => {
    return { items: [{ streams: [], streamPrefixes: [], types: names, tags: [] }] };
  };

  test("concerns what lies beyond the position, and repeats nothing", () => {
    const play = new Play("abc").join(1, 3);
    const [, b, c] = play.deliver();
    play.group.ack(1, [b?.token ?? 0, c?.token ?? 0], play.now);
    play.write();
    expect(play.group.edit({ ...settings, query: types("T") })).toBe(true);
    expect(play.delivered()).toEqual([]);
    expect(play.group.oldestInFlight).toBe(1);
    play.pass(1_000);
    play.group.heard(1);
    expect(play.delivered()).toEqual(["1:1 #2"]);
  });

  test("that leaves an event out does not deliver it again", () => {
    const play = new Play("ab").join(1, 2);
    play.deliver();
    play.group.edit({ ...settings, query: types("U") });
    play.group.pass(2);
    play.pass(1_000);
    play.group.heard(1);
    expect(play.delivered()).toEqual([]);
    play.write();
    expect(play.group.position).toBe(2);
  });

  test("that leaves an event out passes it, and does not come back when it is settled", () => {
    const play = new Play("ab").join(1, 2);
    const [a, b] = play.deliver();
    play.group.edit({ ...settings, query: types("U") });
    play.group.pass(2);
    play.write();
    expect(play.group.position).toBe(2);
    play.group.ack(1, [a?.token ?? 0], play.now);
    play.group.park(1, [b?.token ?? 0], "later", play.now);
    expect(play.group.position).toBe(2);
    expect(play.write()).toEqual([a?.token, b?.token]);
    expect(play.group.position).toBe(2);
  });

  test("that brings a replayed event back among the others keeps count of its failures", () => {
    const play = new Play("a").join(1, 10);
    const [first] = play.deliver();
    play.group.park(1, [first?.token ?? 0], "later", play.now);
    play.group.reset(0, 0);
    play.group.edit({ ...settings, query: types("U") });
    play.group.replay(play.event(1), play.now);
    const [again] = play.group.deliver(play.now);
    expect(again).toMatchObject({ attempt: 1, event: { position: 1, standing: "replay" } });
    const { token } = again as Delivery;
    play.group.nack(1, [token], { delayMs: 0, reason: "no" }, play.now);
    play.group.edit(settings);
    expect(play.delivered()).toEqual(["1:1 #2"]);
  });

  test("too often, before what was there is settled, is refused and changes nothing", () => {
    const play = new Play("ab").join(1, 2);
    play.deliver();
    const edits = Array.from({ length: 12 }, (_, i) => {
      const done = play.group.edit({ ...settings, query: types("T", `${i}`) });
      play.feed();
      return done;
    });
    expect(edits).toEqual([...Array<boolean>(8).fill(true), ...Array<boolean>(4).fill(false)]);
    expect(play.group.settings.query).toEqual(types("T", "7"));
  });
});

describe("what is written", () => {
  test("follows the deliveries, also with ten thousand keys and a hundred members", () => {
    const group = new Group({ ...settings, inFlightMax: 20_000 }, progressFrom(0));
    for (let id = 1; id <= 100; id++) group.join(id, 100);
    const keys = 10_000;
    const last = 60_000;
    let bytes = 0;
    let settled = 0;
    const held = new Map<number, number[]>();
    for (let turn = 0; settled < last && turn < 5_000; turn++) {
      while (group.wantsEvents && group.through < last) {
        const position = group.through + 1;
        const stream = `customer-${position % keys}`;
        group.offer({ id: "", stream, type: "T", tags: [], position }, turn);
      }
      for (const delivery of group.deliver(turn)) {
        group.sent(delivery);
        const tokens = held.get(delivery.member.id) ?? [];
        held.set(delivery.member.id, [...tokens, delivery.token]);
      }
      // One member in seven is slow.
      for (const [id, tokens] of held) {
        if (id % 7 === turn % 7) continue;
        group.ack(id, tokens, turn);
        held.delete(id);
      }
      const write = group.takeWrite();
      bytes += write.progress.length;
      for (const tokens of group.written().values()) settled += tokens.length;
    }
    expect(settled).toBe(last);
    expect(group.position).toBe(last);
    // A key is about 14 bytes, a number up to 3.
    expect(bytes / last).toBeLessThan(64);
  });

  test("is the whole after a write that may or may not be there", () => {
    const many = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const play = new Play(many.repeat(2)).join(1, 1_000);
    const first = play.group.takeWrite();
    play.group.written();
    expect(first.form).toBe("base");
    const [a, b, c] = play.deliver().map(({ token }) => token);
    play.group.ack(1, [a ?? 0], play.now);
    const second = play.group.takeWrite();
    expect(second.form).toBe("delta");
    play.group.ack(1, [b ?? 0], play.now);
    play.group.failed();
    expect(play.group.hasUrgent).toBe(true);
    const third = play.group.takeWrite();
    expect(third).toMatchObject({ form: "base", sequence: 3, obsolete: [2] });
    expect([...play.group.written().values()]).toEqual([[a, b]]);
    play.group.ack(1, [c ?? 0], play.now);
    const fourth = play.group.takeWrite();
    expect(fourth.form).toBe("delta");
    const { progress } = loadProgress(third.progress, [fourth.progress]);
    expect(progress.fronts.get("a")?.position).toBe(53);
    expect(progress.fronts.get("c")?.position).toBe(55);
    expect(progress.fronts.get("d")?.position).toBe(4);
  });
});

describe("whatever happens: in order by key, at least once, settled once it is answered", () => {
  test.each(Object.keys(kindsOfHistory) as (keyof typeof kindsOfHistory)[])("%s", (kind) => {
    assertHistories(kind, 250);
  });
});
