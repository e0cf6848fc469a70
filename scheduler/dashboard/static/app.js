// Starts what each page needs. Pages work without it; with it they stay fresh.
import { follow } from "./live.js";
import { drawAll } from "./plots.js";
import { keepTimes, offerActions, offerCopies, offerTheme, submitFilters } from "./touches.js";

offerTheme();
offerCopies();
offerActions();
submitFilters();
keepTimes();
drawAll();
follow();
if (document.querySelector("[data-verify]")) (await import("./verify.js")).offerCheck();
