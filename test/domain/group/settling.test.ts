// How events of a group are settled, fail, and are written down: each rule by example.
import { describe, expect, test } from "vitest";
import { GroupStateMachine } from "../../../src/domain/group/state-machine.ts";
import { loadProgress } from "../../../src/domain/group/progress-codec.ts";
import { progressFrom } from "../../../src/domain/group/progress.ts";
import { retryDelayOf } from "../../../src/domain/group/settings.ts";
import { logged, Play, settings } from "./play.ts";

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

describe("what is written", () => {
  test("follows the deliveries, also with ten thousand keys and a hundred members", () => {
    const group = new GroupStateMachine({ ...settings, inFlightMax: 20_000 }, progressFrom(0));
    for (let id = 1; id <= 100; id++) group.join(id, 100);
    const keys = 10_000;
    const last = 60_000;
    let bytes = 0;
    let settled = 0;
    const held = new Map<number, number[]>();
    for (let turn = 0; settled < last && turn < 5_000; turn++) {
      while (group.wantsEvents && group.through < last) {
        const position = group.through + 1;
        group.offer(logged(position, `customer-${position % keys}`), turn);
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
    expect(progress.firsts.get("a")?.position).toBe(53);
    expect(progress.firsts.get("c")?.position).toBe(55);
    expect(progress.firsts.get("d")?.position).toBe(4);
  });
});
