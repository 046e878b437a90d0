// What a group delivers, to which member, and until when: each rule by example.
import { describe, expect, test } from "vitest";
import { GroupStateMachine } from "../../../src/domain/group/state-machine.ts";
import { progressFrom } from "../../../src/domain/group/progress.ts";
import { keyOf, type GroupOrdering } from "../../../src/domain/group/settings.ts";
import { logged, Play, settings } from "./play.ts";

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

  test("give it back at once if their member asked for that when it joined", () => {
    const play = new Play("abc");
    play.group.join(1, 1, true);
    const [first] = play.deliver();
    play.group.nack(1, [first?.token ?? 0], { delayMs: 0, reason: "" }, play.now);
    const [again] = play.deliver();
    expect([again?.event.position, again?.attempt]).toEqual([1, 2]);
    play.group.ack(1, [again?.token ?? 0], play.now);
    expect(play.delivered()).toEqual(["1:2"]);
    expect(play.write()).toEqual([first?.token, again?.token]);
    expect(play.group.member(1)).toMatchObject({ held: 1, settling: 0 });
    expect(play.delivered()).toEqual([]);
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
    const many = new GroupStateMachine(
      { ...settings, ordering: { kind: "none" } },
      progressFrom(0),
    );
    many.join(1, 1_000);
    for (let position = 1; many.wantsEvents && position <= 1_000; position++) {
      many.offer(logged(position, "s"), 0);
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
    expect(play.delivered()).toEqual(["1:1 #2"]);
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
