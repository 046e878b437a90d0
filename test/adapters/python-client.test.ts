import { testPythonAdapter } from "./python-adapter.ts";

testPythonAdapter({
  name: "python-client",
  cases: 27,
  packages: ["adapters/python-client"],
  examples: [
    [["courses.py", "enrol", "ada", "maths"], "ada takes maths\n"],
    [["courses.py", "enrol", "ada", "maths"], "ada takes maths already\n"],
    [["courses.py", "enrol", "bob", "maths"], "bob takes maths\n"],
    [["courses.py", "list"], "maths ada\nmaths bob\n"],
    [["courses.py", "enrol", "eve", "maths"], "maths is full\n"],
    [["courses.py", "list"], "maths ada\nmaths bob\n"],
  ],
});
