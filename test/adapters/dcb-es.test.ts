import { testAdapter } from "./typescript-adapter.ts";

testAdapter("dcb-es", 66);
