// Failed attempts by address, and what the authenticator remembers.
import { describe, expect, test } from "vitest";
import { addressOf, Attempts } from "../../src/access/attempts.ts";
import { Authenticator } from "../../src/access/authenticator.ts";
import { hashSecret, newToken, tokenText } from "../../src/access/token.ts";
import type { TokenEntry } from "../../src/access/token-file.ts";
import { AnnalsError } from "../../src/domain/errors.ts";

describe("failed attempts", () => {
  test("are looked at ten at a time, and one more each second", () => {
    const attempts = new Attempts();
    for (let i = 0; i < 10; i++) {
      expect(attempts.waitMs("10.0.0.1:1", 0)).toBe(0);
      attempts.failed(`10.0.0.1:${i}`, 0);
    }
    expect(attempts.waitMs("10.0.0.1:99", 0)).toBe(1_000);
    expect(attempts.waitMs("10.0.0.2:99", 0)).toBe(0);
    expect(attempts.waitMs("10.0.0.1:99", 1_001)).toBe(0);
    for (let i = 0; i < 2; i++) attempts.failed("10.0.0.1:1", 1_001);
    expect(attempts.waitMs("10.0.0.1:99", 1_001)).toBeGreaterThan(0);
    expect(attempts.waitMs("10.0.0.1:99", 60_000)).toBe(0);
  });

  test("do not come back where the clock is set back", () => {
    const attempts = new Attempts();
    for (let i = 0; i < 10; i++) attempts.failed("unix", 10_000);
    expect(attempts.waitMs("unix", 0)).toBeGreaterThan(0);
    expect(attempts.waitMs("unix", 1_000)).toBe(0);
  });

  test.each([
    ["127.0.0.1:50123", "127.0.0.1"],
    ["unix", "unix"],
    ["[::1]:50123", "0:0:0:0"],
    ["[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2"],
    ["[2001:db8::1]:1", "2001:db8:0:0"],
    ["[fe80::1%eth0]:1", "fe80:0:0:0"],
    ["[::ffff:10.0.0.1]:1", "10.0.0.1"],
  ])("from %s are those of %s", (peer, address) => {
    expect(addressOf(peer)).toBe(address);
  });
});

describe("a credential", () => {
  async function setting() {
    const token = newToken();
    const hash = await hashSecret(token.secret);
    const times = { createdMs: 0, expiresMs: Infinity, revokedMs: undefined };
    const entry: TokenEntry = { id: token.id, name: "a", roles: [], ...times, hash };
    const clock = { ms: 0 };
    const authenticator = new Authenticator({
      tokens: () => new Map([[entry.id, entry]]),
      verifyAccessToken: () => undefined,
      nowMs: () => clock.ms,
    });
    const show = (authorization: string) =>
      authenticator.prove({ peer: "unix", authorization, certificate: undefined });
    const reason = async (authorization: string): Promise<string> => {
      try {
        await show(authorization);
        return "proven";
      } catch (error) {
        return error instanceof AnnalsError ? error.reason : String(error);
      }
    };
    return {
      clock,
      authenticator,
      show,
      reason,
      authorization: `Bearer ${tokenText(token)}`,
      token,
    };
  }

  test("is computed once for all calls that come at once, and then known for a while", async () => {
    const { show, authorization, clock } = await setting();
    const first = show(authorization);
    expect(first).toBeInstanceOf(Promise);
    expect(show(authorization)).toBe(first);
    expect(await first).toMatchObject({ kind: "token" });
    expect(show(authorization)).not.toBeInstanceOf(Promise);
    clock.ms = 300_000;
    expect(show(authorization)).toBeInstanceOf(Promise);
  });

  test("that is wrong counts once, however often it is shown", async () => {
    const { reason, token, authorization } = await setting();
    const wrong = `Bearer ${tokenText({ ...token, secret: newToken().secret })}`;
    for (let i = 0; i < 50; i++) expect(await reason(wrong)).toBe("UNAUTHENTICATED");
    expect(await reason(authorization)).toBe("proven");
  });

  test("is not looked at after ten guesses, but what was proven before is known", async () => {
    const { reason, token, authorization, clock } = await setting();
    await reason(authorization);
    for (let i = 0; i < 10; i++) {
      const guess = tokenText({ ...token, secret: newToken().secret });
      expect(await reason(`Bearer ${guess}`)).toBe("UNAUTHENTICATED");
    }
    expect(await reason(`Bearer ${tokenText(newToken())}`)).toBe("OVERLOADED");
    expect(await reason(authorization)).toBe("proven");
    clock.ms = 5_000;
    expect(await reason(`Bearer ${tokenText(newToken())}`)).toBe("UNAUTHENTICATED");
  });

  test("is guessed no more often where the guesses come at once", async () => {
    const { reason, token } = await setting();
    const guess = () => tokenText({ ...token, secret: newToken().secret });
    const all = await Promise.all(Array.from({ length: 100 }, () => reason(`Bearer ${guess()}`)));
    const looked = all.filter((each) => each === "UNAUTHENTICATED").length;
    // Others may be under way when the tenth is known to be wrong.
    expect(looked).toBeGreaterThanOrEqual(10);
    expect(looked).toBeLessThanOrEqual(12);
    expect(all.filter((each) => each === "OVERLOADED")).toHaveLength(100 - looked);
  });

  test("that was refused is looked at again after the files have changed", async () => {
    const { reason, authenticator } = await setting();
    for (let i = 0; i < 10; i++) await reason(`Bearer guess-${i}`);
    expect(await reason("Bearer guess-0")).toBe("UNAUTHENTICATED");
    authenticator.filesChanged();
    expect(await reason("Bearer guess-0")).toBe("OVERLOADED");
  });

  test.each(["", "Basic abc", "Bearer", "Bearer a, Bearer b", `Bearer ${"x".repeat(20_000)}`])(
    "is refused where it is none: %.20s",
    async (authorization) => {
      const { reason } = await setting();
      expect(await reason(authorization)).toBe("UNAUTHENTICATED");
    },
  );
});
