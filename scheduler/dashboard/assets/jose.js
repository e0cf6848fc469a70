// The parts of jose with which a token is checked.
export { compactVerify, decodeProtectedHeader, errors, importJWK } from "jose";
