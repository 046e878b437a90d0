// What the plain model keeps beside its events: side values, as a list.
import type { SideValue, SideValueStore } from "../../src/storage/storage.ts";

export interface BesideEvents {
  sideValues: SideValue[];
}

/** By UTF-8 bytes, which is by code point and not by JavaScript's UTF-16 units. */
export function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export function modelSideValues(data: BesideEvents, assertOpen: () => void): SideValueStore {
  return {
    async get(space, names) {
      assertOpen();
      const asked = new Set(names);
      const found = data.sideValues.filter(
        (sideValue) => sideValue.space === space && asked.has(sideValue.name),
      );
      return new Map(found.map(({ name, value }) => [name, value]));
    },
    async list({ space, prefix, after, limit, namesOnly }) {
      assertOpen();
      return data.sideValues
        .filter((sideValue) => sideValue.space === space && sideValue.name.startsWith(prefix))
        .filter(({ name }) => compareUtf8(name, after) > 0)
        .toSorted((a, b) => compareUtf8(a.name, b.name))
        .slice(0, limit)
        .map((found) => (namesOnly === true ? { ...found, value: new Uint8Array() } : found));
    },
  };
}
