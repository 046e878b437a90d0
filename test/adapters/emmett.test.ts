import { testAdapter } from "./typescript-adapter.ts";

testAdapter("emmett", 99);
