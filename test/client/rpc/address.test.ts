// Addresses as people write them.
import { describe, expect, test } from "vitest";
import { targetOf } from "../../../src/client/rpc/address.ts";

describe("an address", () => {
  test.each([
    ["127.0.0.1:7420", "dns:127.0.0.1:7420"],
    ["store.example:99", "dns:store.example:99"],
    ["localhost", "dns:localhost:7420"],
    ["[::1]:7421", "dns:[::1]:7421"],
    ["[::1]", "dns:[::1]:7420"],
    ["unix:annals.sock", "unix:annals.sock"],
    ["unix:/run/annals/annals.sock", "unix:/run/annals/annals.sock"],
    ["unix:///run/annals.sock", "unix:/run/annals.sock"],
  ])("%s is the target %s", (address, target) => {
    expect(targetOf(address)).toBe(target);
  });

  test.each([
    "",
    "::1",
    "host:",
    "host:0",
    "host:65536",
    "host:x",
    "http://host:7420",
    "unix:",
    "a b",
  ])('like "%s" is refused by name', (address) => {
    expect(() => targetOf(address)).toThrow(address);
  });
});
