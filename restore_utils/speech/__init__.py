"""What is said in a film: heard, cut into subtitles, given to those who say it; and its sound, cleaned by choice.

    sound -> activity -> language -> recogniser -> transcript -> cues -> formats -> the film

Whatever is written (SRT, VTT, ASS, text) comes from one transcript, which is kept as JSON.
"""
