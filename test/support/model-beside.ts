// The side values of the plain model, as a list.
import type { SideValue, SideValueStore } from "../../src/storage/storage.ts";

export interface BesideEvents {
  sideValues: SideValue[];
}

/** Compares UTF-8 bytes. This is the order of code points, not of JavaScript's UTF-16 units. */
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
