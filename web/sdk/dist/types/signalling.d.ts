/** One exchange over HTTP, for whoever wants to see the signalling. */
export interface Exchange {
    /** `POST`, `PATCH` or `DELETE`. */
    method: string;
    /** Where. */
    url: string;
    /** The SDP that was sent. */
    offer?: string;
    /** The HTTP status of the answer. */
    status: number;
    /** The SDP that came back. */
    answer?: string;
}
