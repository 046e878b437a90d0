// An event's data as JSON text. Values that JSON would silently lose or change are refused by name,
// because an event is permanent: NaN would be stored as null, a forgotten `await` as {}.

class NotJsonError extends TypeError {}

/**
 * A text that `JSON.parse` turns into the same data again, apart from undefined members and values
 * with their own JSON form (`toJSON`, as dates have). Throws a `NotJsonError` that names the
 * member.
 */
export function jsonText(data: unknown): string {
  const check = new Check();
  const fault = check.faultOf(data, { path: "data", key: "" });
  if (fault !== undefined) throw new NotJsonError(fault);
  return check.hasNegativeZero ? JSON.stringify(data, keepNegativeZero) : JSON.stringify(data);
}

interface Place {
  readonly path: string;
  /** The argument of the value's `toJSON`. */
  readonly key: string;
}

class Check {
  /** JSON can represent -0, but `JSON.stringify` does not. */
  hasNegativeZero = false;
  /** The objects around the present one. Meeting one of them again is a cycle. */
  private readonly ancestors = new Set<object>();

  /** The fault of a value and its path. Undefined: there is none. */
  faultOf(given: unknown, { path, key }: Place): string | undefined {
    if (given instanceof Date && Number.isNaN(given.getTime())) return `${path} is an invalid date`;
    const value = hasToJson(given) ? given.toJSON(key) : given;
    switch (typeof value) {
      case "string":
      case "boolean":
        return undefined;
      case "number":
        this.hasNegativeZero ||= Object.is(value, -0);
        return Number.isFinite(value) ? undefined : `${path} is ${value}: JSON has no form for it`;
      case "object":
        return value === null ? undefined : this.faultOfObject(value, path);
      case "undefined":
        return `${path} is undefined`;
      default:
        return `${path} is a ${typeof value}: JSON has no form for it`;
    }
  }

  private faultOfObject(value: object, path: string): string | undefined {
    if (this.ancestors.has(value)) return `${path} is a cycle: it is inside itself`;
    this.ancestors.add(value);
    const fault = Array.isArray(value)
      ? this.faultInList(value, path)
      : this.faultInMembers(value, path);
    this.ancestors.delete(value);
    return fault;
  }

  private faultInList(list: readonly unknown[], path: string): string | undefined {
    for (let index = 0; index < list.length; index += 1) {
      // In a list, an undefined or missing element would become null.
      if (!(index in list)) return `${path}[${index}] is a hole in the list`;
      const place = { path: `${path}[${index}]`, key: String(index) };
      const fault = this.faultOf(list[index], place);
      if (fault !== undefined) return fault;
    }
    const [beside] = Object.keys(list).slice(list.length);
    return beside === undefined ? undefined : `${path} is a list with a member "${beside}"`;
  }

  private faultInMembers(value: object, path: string): string | undefined {
    if (!isPlain(value)) return instanceFault(value, path);
    if (Object.getOwnPropertySymbols(value).length > 0) {
      return `${path} has a member named by a symbol`;
    }
    for (const [key, member] of Object.entries(value) as [string, unknown][]) {
      // An undefined member is left out, which means the same.
      if (member === undefined) continue;
      const fault = this.faultOf(member, { path: memberPath(path, key), key });
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
}

/** Buffers have one as well, which makes an object that nothing converts back. */
function hasToJson(value: unknown): value is { toJSON(key: string): unknown } {
  if (value === null || value === undefined || ArrayBuffer.isView(value)) return false;
  return typeof (value as { toJSON?: unknown }).toJSON === "function";
}

/**
 * An object literal, or the result of `JSON.parse`, of any realm; or an object without a prototype.
 */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function instanceFault(value: object, path: string): string {
  if (value instanceof Promise) return `${path} is a Promise: is an await missing?`;
  const { name } = value.constructor ?? {};
  return `${path} is a ${name || "class instance"}, whose content JSON would lose`;
}

function memberPath(path: string, name: string): string {
  const isName = /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(name);
  return isName ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`;
}

/** Every supported Node has it, but the language's declarations do not. */
const { rawJSON } = JSON as unknown as { rawJSON(this: void, text: string): unknown };

function keepNegativeZero(_: string, value: unknown): unknown {
  return Object.is(value, -0) ? rawJSON("-0") : value;
}
