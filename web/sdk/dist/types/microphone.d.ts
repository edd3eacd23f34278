/** A microphone, a loudspeaker or a headset. */
export interface AudioDevice {
    /** For `useMicrophone` and `useSpeaker`. */
    id: string;
    /** Its name; empty before the user has allowed the microphone once. */
    label: string;
}
/** What there is to speak into and to hear with. */
export interface AudioDevices {
    /** Microphones. */
    microphones: AudioDevice[];
    /** Loudspeakers; empty where the browser does not let pages choose. */
    speakers: AudioDevice[];
}
